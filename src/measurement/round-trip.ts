/** One thing at a time: how long a connection, a ping and a publish take when nothing else is under way. */
import type { ConnackGrant } from '../wire/control-packets.js';
import { type Distribution, distributionOf, roundMs } from './distribution.js';
import { pause } from './pause.js';
import { openProbe, type Probe, type ProbeOptions } from './probe.js';

/** With an id that is given, a platform may take a quick second connection for a fight. */
const CONNECTS = 5;
const ROUNDS = 100;
const TIME_MAX_MS = 3000;

export interface RoundTrip {
  /** From looking up the name until the broker has accepted us. */
  connect: Distribution | undefined;
  ping: Distribution | undefined;
  /** Until PUBACK. */
  publishQos1: Distribution | undefined;
  /** Until PUBCOMP: two ways there and back. */
  publishQos2: Distribution | undefined;
}

export interface BrokerLimits {
  protocolVersion: 4 | 5;
  grant: ConnackGrant;
}

export interface RoundTripOptions extends Omit<ProbeOptions, 'protocolVersion'> {
  topic: string;
  payload: Buffer;
  /** Levels to publish at; those above the broker's Maximum QoS are left out. */
  qosLevels: readonly (1 | 2)[];
  messagesMax: number;
  timeMaxMs: number;
  /** Messages per second; undefined: no limit. */
  rate: number | undefined;
  /** The client id is given: it connects once. */
  hasFixedId: boolean;
}

/** So many messages are published at most at each level. */
export function roundsMax(messagesMax: number): number {
  return Math.min(ROUNDS, messagesMax);
}

/**
 * Fills `into` as it goes, so that what was measured before a failure is kept. Rejects with what the probe rejects with.
 *
 * @param accepted told of the first connection that the broker accepts.
 */
export async function measureRoundTrip(
  options: RoundTripOptions,
  into: RoundTrip,
  accepted: (limits: BrokerLimits) => void,
): Promise<void> {
  const connectMs: number[] = [];
  const connect = async (settings: ProbeOptions['settings']): Promise<Probe> => {
    const probe = await openProbe({ ...options, settings });
    connectMs.push(probe.connectMs);
    into.connect = distributionOf(connectMs);
    return probe;
  };
  let probe = await connect(options.settings);
  try {
    const { grant, protocolVersion } = probe;
    accepted({ grant, protocolVersion });
    const fixed = { ...options.settings, protocolVersion: protocolVersion === 5 ? '5' : '3.1.1' } as const;
    for (let made = 1; made < CONNECTS && !options.hasFixedId; made++) {
      await probe.close();
      probe = await connect(fixed);
    }
    await repeat(
      { ...options, rate: undefined },
      ROUNDS,
      () => probe.ping(),
      (times) => (into.ping = times),
    );
    for (const qos of options.qosLevels) {
      if (qos > grant.maximumQos) continue;
      await repeat(
        options,
        roundsMax(options.messagesMax),
        () => probe.publish(options.topic, options.payload, qos),
        (times) => (into[`publishQos${qos}`] = times),
      );
    }
  } finally {
    await probe.close();
  }
}

async function repeat(
  { timeMaxMs, rate, signal }: Pick<RoundTripOptions, 'timeMaxMs' | 'rate' | 'signal'>,
  rounds: number,
  measure: () => Promise<number>,
  tell: (times: Distribution | undefined) => void,
): Promise<void> {
  const startMs = performance.now();
  const endMs = startMs + Math.min(timeMaxMs, TIME_MAX_MS);
  const timesMs: number[] = [];
  try {
    while (timesMs.length < rounds && !signal.aborted && performance.now() < endMs) {
      timesMs.push(roundMs(await measure()));
      const dueMs = rate === undefined ? 0 : startMs + (timesMs.length * 1000) / rate;
      const waitMs = Math.min(dueMs, endMs) - performance.now();
      if (waitMs > 0 && timesMs.length < rounds) await pause(waitMs, signal);
    }
  } finally {
    tell(distributionOf(timesMs));
  }
}

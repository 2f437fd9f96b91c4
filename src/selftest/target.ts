/** The broker of the run: one inside this process, or that of a URL, with a subscriber that sees what arrives. */
import type { ConnectorConfig, ConnectorInput } from '../config/connector.js';
import { brokerUrls } from '../config/settings.js';
import { testConnection } from '../connector/connection-test.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { openEmbeddedBroker } from '../service/embedded-broker.js';
import { endSession, openArrivalWatch } from './arrival-watch.js';
import { type Check, failed, passed, warned } from './check.js';
import type { CrashRunResult } from './crash-run.js';
import type { Promised } from './delivery-checks.js';

/** In the process, nothing is dropped between broker and subscriber. */
const UNDER_WAY_MAX_EMBEDDED = 3000;
/** Half of what common brokers queue for a subscriber before they drop. */
const UNDER_WAY_MAX = 500;

export interface Target {
  /** The settings for the connector of the run. */
  settings: ConnectorInput['settings'];
  underWayMax: number;
  /** What broker and subscriber allow to promise, known at the end of the run. */
  promised(run: CrashRunResult): Promised;
  check(run: CrashRunResult): Check;
  close(): Promise<void>;
}

export interface TargetOptions {
  /** Unique for this run. */
  prefix: string;
  clientId: string;
  arrived(topic: string, payload: Buffer): void;
}

export async function openEmbeddedTarget({ prefix, clientId, arrived }: TargetOptions): Promise<Target> {
  const broker = await openEmbeddedBroker(0);
  await broker.subscribe(`${prefix}/#`, ({ topic, payload }) => arrived(topic, payload));
  return {
    settings: {
      url: broker.url,
      qos: 2,
      // Aedes speaks 3.1.1 only; with `auto` each life would ask for 5 first.
      protocolVersion: '3.1.1',
      clientId,
      topicPrefix: prefix,
      reconnectPeriod: 100,
    },
    underWayMax: UNDER_WAY_MAX_EMBEDDED,
    promised: ({ sessionsLost }) => ({ lossReason: undefined, repeatReason: sessionReason(sessionsLost) }),
    check: (run) =>
      judge(run, 'embedded broker, MQTT 3.1.1, QoS 2, keeps its sessions while it runs', undefined, undefined),
    close: () => broker.close(),
  };
}

/**
 * Tests the connection, subscribes, and only then says that there is a target. Rejects with what `mqtt-north test` would
 * say, too.
 */
export async function openUrlTarget(
  connection: ConnectorInput['settings'],
  config: ConnectorConfig,
  { prefix, clientId, arrived }: TargetOptions,
): Promise<Target> {
  const { settings } = config;
  const report = await testConnection({ settings, clientId, clock: systemClock() });
  const { grant, error } = report;
  if (error !== undefined) throw new NorthError(error.code as NorthError['code'], error.message, error);
  const [broker] = brokerUrls(settings);
  if (grant === undefined || broker === undefined) throw new NorthError('INTERNAL', 'The broker granted nothing.');
  const { protocolVersion, maximumQos } = grant;
  const watchId = `${clientId}-watch`;
  const connect = { settings, broker, protocolVersion };
  const watch = await openArrivalWatch({ ...connect, clientId: watchId, filter: `${prefix}/#`, arrived });
  const promised = ({ sessionsLost, isDowngraded }: CrashRunResult): Promised => {
    const lossReason = watch.isBroken
      ? 'the broker forgot the subscription of the self-test when its connection was lost'
      : maximumQos === 0
        ? 'this broker grants QoS 0'
        : undefined;
    const repeatReason =
      maximumQos < 2 || isDowngraded
        ? `this broker grants QoS ${Math.min(maximumQos, 1)}`
        : watch.grantedQos < 2
          ? `this broker delivers to subscribers at QoS ${watch.grantedQos}`
          : sessionReason(sessionsLost);
    return { lossReason, repeatReason };
  };
  return {
    settings: { ...connection, qos: 2, clientId, topicPrefix: prefix, reconnectPeriod: 500 },
    underWayMax: UNDER_WAY_MAX,
    promised,
    check(run) {
      const version = protocolVersion === 5 ? '5' : '3.1.1';
      const granted = protocolVersion === 5 ? `maximum QoS ${maximumQos}` : 'maximum QoS not announced';
      const found = `${broker.display}, MQTT ${version}, ${granted}, subscriber at QoS ${watch.grantedQos}`;
      return judge(run, found, promised(run).repeatReason, report.guarantee);
    },
    close: async () => {
      watch.close();
      for (const id of [clientId, watchId]) await endSession({ ...connect, clientId: id });
    },
  };
}

function sessionReason(sessionsLost: number): string | undefined {
  if (sessionsLost === 0) return undefined;
  return `the broker lost our session ${sessionsLost === 1 ? 'once' : `${sessionsLost} times`} in this run`;
}

function judge(
  { quarantined }: CrashRunResult,
  found: string,
  weakness: string | undefined,
  guarantee: string | undefined,
): Check {
  const name = 'broker';
  if (quarantined !== undefined) {
    const { count, code, reason } = quarantined;
    return failed(
      name,
      `${found}; it refused ${count} messages: ${code}, ${reason}`,
      'What a broker refuses is set aside, and nothing behind it waits; but this run could not show much.',
      'Allow this user to publish below the topic of the self-test, or name another one with --topic.',
    );
  }
  if (weakness !== undefined) {
    return warned(
      name,
      `${found}; ${weakness}`,
      guarantee === undefined || guarantee === 'exactly once'
        ? 'At least once is what it gives.'
        : `It gives ${guarantee}.`,
      'Where twice does harm, use a broker with QoS 2 that keeps its sessions on disk.',
    );
  }
  return passed(name, found, 'It allows exactly once.');
}

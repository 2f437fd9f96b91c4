/** What limits: concluded from the figures, with the figures named, so that a reader can judge the conclusion. */
import type { AcceptanceRate } from './acceptance-rate.js';
import type { Distribution } from './distribution.js';
import type { Throughput } from './throughput.js';

export type LimitKind = 'broker' | 'network' | 'disk' | 'machine' | 'rate' | 'amount' | 'unknown';

export interface Limit {
  kind: LimitKind;
  /** The conclusion with its figures. */
  text: string;
  /** What would change it. */
  remedy: string | undefined;
}

export interface LimitFacts {
  throughput: Throughput;
  acceptance: AcceptanceRate | undefined;
  /** One message of this QoS at a time, without a cache; at QoS 0 a ping. */
  alone: Distribution | undefined;
  /** A write with its sync. */
  syncMs: number | undefined;
  /** Messages that the broker lets be in flight; undefined: it announces nothing. */
  receiveMaximum: number | undefined;
  /** The limit that was given. */
  rate: number | undefined;
  isBrokerHere: boolean;
  coresCount: number;
}

const THREAD_FULL = 0.9;
const MACHINE_FULL = 0.92;
/** As fast as data is accepted at all. */
const ACCEPTANCE_PART = 0.7;
const RATE_PART = 0.9;
/** Below it, the time of a round trip is not the network's. */
const NETWORK_LEAST_MS = 2;
const WAITING_FACTOR = 3;
/** No machine that is merely busy makes an acknowledgement take so much longer. */
const WAITING_LONG_MS = 50;
const THREAD_IDLE = 0.5;
const WINDOW_PART = 0.9;
/** The window was what held messages back: it was nearly full most of the time. A few places are for other lanes. */
const INFLIGHT_PART = 0.6;
/** A part of the exchange that is worth naming. */
const SYNC_PART = 0.25;

/** Undefined when nothing was acknowledged. */
export function limitOf(facts: LimitFacts): Limit | undefined {
  const { throughput, rate } = facts;
  const { perSecond, growth } = throughput;
  if (perSecond === undefined) return undefined;
  if (rate !== undefined && perSecond >= rate * RATE_PART) {
    return { kind: 'rate', text: `the limit that was given: ${count(rate)} a second`, remedy: undefined };
  }
  if (growth === 'slowed') return slowedLimit(facts);
  return (
    silenceLimit(facts) ??
    windowLimit(facts) ??
    waitingLimit(facts) ??
    machineLimit(facts) ??
    diskLimit(facts, perSecond) ??
    amountLimit(facts) ??
    distanceLimit(facts) ??
    brokerLimit(facts)
  );
}

function silenceLimit({ throughput }: LimitFacts): Limit | undefined {
  if (throughput.failure?.code !== 'ACK_OVERDUE') return undefined;
  return {
    kind: 'broker',
    text: `the broker: it stopped acknowledging after ${count(throughput.acknowledged)} messages`,
    remedy: 'A quota, perhaps: measure with a --rate that it allows.',
  };
}

function slowedLimit({ throughput }: LimitFacts): Limit {
  const { losses, allowance, exchangeMs } = throughput;
  const text =
    losses > 0
      ? `the broker, or the way to it: the connection was lost ${losses === 1 ? 'once' : `${losses} times`}`
      : 'the broker, or the way to it: its acknowledgements became slow';
  const mean = exchangeMs === undefined ? '' : `; they took ${ms(exchangeMs)} in the end`;
  return {
    kind: 'broker',
    text: `${text}${mean}. The measurement has held back, with at most ${count(allowance)} messages under way`,
    remedy: "Look at the broker's load, quotas and log. Settings with which to stay below: rateLimit, inflightMax.",
  };
}

/** As many in flight as the broker allows, most of the time: what is left is the time that each one takes. */
function windowLimit({ throughput, receiveMaximum, alone, syncMs }: LimitFacts): Limit | undefined {
  const { qos, window, inflight, exchangeMs } = throughput;
  if (window === undefined || inflight === undefined || receiveMaximum === undefined) return undefined;
  if (exchangeMs === undefined || alone === undefined) return undefined;
  if (window < receiveMaximum * WINDOW_PART || inflight < window * INFLIGHT_PART) return undefined;
  const most = count((receiveMaximum * 1000) / exchangeMs);
  const allowed = `it lets ${count(receiveMaximum)} messages be in flight, and each takes ${ms(exchangeMs)}`;
  const remedy = 'Let the broker allow more in flight (Receive Maximum; max_inflight_messages in Mosquitto)';
  if (alone.medianMs >= NETWORK_LEAST_MS && exchangeMs <= alone.medianMs * WAITING_FACTOR) {
    return {
      kind: 'network',
      text: `the network, with the window of the broker: ${allowed}, alone ${ms(alone.medianMs)}: ${most} a second at most`,
      remedy: `${remedy}, or shorten the way.`,
    };
  }
  if (qos === 2 && syncMs !== undefined && syncMs >= exchangeMs * SYNC_PART) {
    return {
      kind: 'disk',
      text:
        `the disk, with the window of the broker: ${allowed}, because its PUBREC is stored before its PUBREL is sent ` +
        `(a sync takes ${ms(syncMs)}): ${most} a second at most`,
      remedy: `${remedy}, or put the data directory on a disk that syncs faster.`,
    };
  }
  return undefined;
}

function machineLimit({ throughput, isBrokerHere, coresCount }: LimitFacts): Limit | undefined {
  const { mainThread, machine = 0, processCores } = throughput.load;
  if (mainThread < THREAD_FULL && machine < MACHINE_FULL) return undefined;
  const busy =
    machine >= MACHINE_FULL
      ? `${percent(machine)} of its ${coresCount === 1 ? 'core' : `${coresCount} cores`} are in use, of which this process takes ${percent(processCores / coresCount)}`
      : `the main thread of this process is ${percent(mainThread)} busy`;
  const shared = isBrokerHere ? '; the broker runs here, too' : '';
  return {
    kind: 'machine',
    text: `this machine: ${busy}${shared}`,
    remedy:
      machine >= MACHINE_FULL
        ? 'Measure again when less else runs here; a machine with more or faster cores carries more.'
        : 'Faster cores carry more; several connectors share the work out only when they run in processes of their own.',
  };
}

function diskLimit({ acceptance }: LimitFacts, perSecond: number): Limit | undefined {
  if (acceptance?.perSecond === undefined || perSecond < acceptance.perSecond * ACCEPTANCE_PART) return undefined;
  const { mainThread } = acceptance.load;
  const rate = `acceptance alone brings ${count(acceptance.perSecond)} a second`;
  if (mainThread >= THREAD_FULL) {
    return {
      kind: 'machine',
      text: `this machine: ${rate}, and the main thread is ${percent(mainThread)} busy with it`,
      remedy: 'Faster cores carry more.',
    };
  }
  return {
    kind: 'disk',
    text: `the disk: ${rate}, with the main thread only ${percent(mainThread)} busy; the rest is waiting for the disk`,
    remedy: 'Put the data directory on a disk that syncs faster; hand data in with larger requests, or more at once.',
  };
}

function amountLimit({ throughput }: LimitFacts): Limit | undefined {
  if (throughput.growth !== 'open') return undefined;
  return {
    kind: 'amount',
    text: `nothing that was seen: it still became faster when its ${count(throughput.accepted)} messages, or its time, were used up`,
    remedy: 'Give more with --messages or --seconds to see the limit.',
  };
}

/** The window could have grown and found no gain in it, and each message takes about as long as when it is alone. */
function distanceLimit({ throughput, alone }: LimitFacts): Limit | undefined {
  const { window, exchangeMs } = throughput;
  if (window === undefined || exchangeMs === undefined || alone === undefined) return undefined;
  if (alone.medianMs < NETWORK_LEAST_MS || exchangeMs > alone.medianMs * WAITING_FACTOR) return undefined;
  return {
    kind: 'network',
    text: `the network: an acknowledgement takes ${ms(exchangeMs)}, alone ${ms(alone.medianMs)}; ${count(window)} in flight were the best`,
    remedy: 'A shorter way, or a line with more bandwidth.',
  };
}

/** Acknowledgements take so long, while this process has little to do, that it does not matter how busy the machine is. */
function waitingLimit(facts: LimitFacts): Limit | undefined {
  const { exchangeMs, load } = facts.throughput;
  const { alone } = facts;
  if (exchangeMs === undefined || alone === undefined || load.mainThread > THREAD_IDLE) return undefined;
  if (facts.throughput.growth === 'open') return undefined;
  if (exchangeMs < alone.medianMs * WAITING_FACTOR || exchangeMs < alone.medianMs + WAITING_LONG_MS) return undefined;
  return brokerLimit(facts);
}

function brokerLimit({ throughput, alone, isBrokerHere, acceptance }: LimitFacts): Limit {
  const { load, exchangeMs } = throughput;
  const { machine = 0 } = load;
  const rest = [
    `the main thread here is ${percent(load.mainThread)} busy`,
    ...(machine >= MACHINE_FULL ? [`all that runs here takes ${percent(machine)} of the machine`] : []),
    ...(acceptance?.perSecond === undefined
      ? []
      : [`acceptance alone would bring ${count(acceptance.perSecond)} a second`]),
  ].join(', ');
  if (exchangeMs !== undefined && alone !== undefined && exchangeMs > alone.medianMs * WAITING_FACTOR) {
    const way = alone.medianMs < NETWORK_LEAST_MS || isBrokerHere ? 'the broker' : 'the broker, or the way to it';
    return {
      kind: 'broker',
      text: `${way}: an acknowledgement takes ${ms(exchangeMs)} under load, alone ${ms(alone.medianMs)}; ${rest}`,
      remedy: "Look at the broker's load and at its limits for a client.",
    };
  }
  return {
    kind: 'unknown',
    text: `nothing stands out: ${rest}`,
    remedy: 'Give more with --messages and --seconds for a clearer picture.',
  };
}

function count(value: number): string {
  return Math.floor(value).toLocaleString('en');
}

function ms(value: number): string {
  return `${value < 10 ? Math.round(value * 100) / 100 : Math.round(value)} ms`;
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`;
}

/** What was seen of a run from time to time, and the figures of its second half. */
import type { ConnectorStatus, LatencyHistogram } from '../connector/connector.js';
import { roundMs } from './distribution.js';
import { type Load, type LoadMark, loadBetween, markLoad } from './machine-load.js';
import { RateRecord } from './rate-record.js';

const LOAD_PERIOD_MS = 50;
/** What was seen is kept so many times, however long the run takes. */
const LOOKS_MAX = 2000;

/** What the connector tells of its session. */
export type SessionStatus = Omit<ConnectorStatus, 'cache'>;

interface Look {
  timeMs: number;
  window: number;
  inflight: number;
  ack: LatencyHistogram | undefined;
  load: LoadMark;
}

export interface ObservedFigures {
  /** Messages per second. Undefined when none was acknowledged. */
  perSecond: number | undefined;
  /** Messages in flight that the session found to be best; the median while connected. At QoS 0 there is none. */
  window: number | undefined;
  /** Messages in flight on average. */
  inflight: number | undefined;
  /**
   * From a message's first byte until its exchange is complete, on average. At QoS 2, of which the session times only the
   * last leg, it is what was in flight divided by the rate (Little's law).
   */
  exchangeMs: number | undefined;
  load: Load;
}

export class Observation {
  readonly record: RateRecord;
  readonly startMs: number;
  readonly #lookPeriodMs: number;
  readonly #startLoad = markLoad();
  readonly #looks: Look[] = [];

  constructor(timeMaxMs: number) {
    this.startMs = performance.now();
    this.record = new RateRecord(this.startMs);
    this.#lookPeriodMs = timeMaxMs / LOOKS_MAX;
  }

  /** @param count messages acknowledged until now. */
  note(count: number, { window, inflight, ackLatency }: SessionStatus): void {
    const timeMs = performance.now();
    this.record.note(count, timeMs);
    const last = this.#looks.at(-1);
    if (last !== undefined && timeMs - last.timeMs < this.#lookPeriodMs) return;
    const isLoadDue = last === undefined || timeMs - last.load.timeMs >= LOAD_PERIOD_MS;
    this.#looks.push({ timeMs, window, inflight, ack: ackLatency, load: isLoadDue ? markLoad() : last.load });
  }

  figures(qos: 0 | 1 | 2): ObservedFigures {
    const { record } = this;
    const secondHalf = this.#looks.filter(({ timeMs }) => timeMs >= record.halfwayMs && timeMs <= record.endMs);
    const first = secondHalf[0] ?? this.#looks[0];
    const last = secondHalf.at(-1) ?? first;
    const perSecond = record.perSecond();
    const inflight = meanOf(secondHalf.map((look) => look.inflight));
    return {
      perSecond,
      window: qos === 0 ? undefined : medianOf(secondHalf.map((look) => look.window).filter((size) => size > 0)),
      inflight: qos === 0 ? undefined : inflight,
      exchangeMs: qos === 2 ? quotientMs(inflight, perSecond) : ackMeanMs(first?.ack, last?.ack),
      load: this.#loadOf(first, last),
    };
  }

  /** Over the whole run, where the second half is too short for the system's own clock. */
  #loadOf(first: Look | undefined, last: Look | undefined): Load {
    if (first === undefined || last === undefined || last.load.timeMs - first.load.timeMs < LOAD_PERIOD_MS * 2) {
      return loadBetween(this.#startLoad, markLoad());
    }
    return loadBetween(first.load, last.load);
  }
}

function medianOf(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

function meanOf(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  return Math.round((values.reduce((sum, value) => sum + value, 0) / values.length) * 10) / 10;
}

function quotientMs(inflight: number | undefined, perSecond: number | undefined): number | undefined {
  return inflight === undefined || perSecond === undefined ? undefined : roundMs((inflight * 1000) / perSecond);
}

function ackMeanMs(from: LatencyHistogram | undefined, to: LatencyHistogram | undefined): number | undefined {
  if (from === undefined || to === undefined || to.count <= from.count) return undefined;
  return roundMs(((to.sumSeconds - from.sumSeconds) * 1000) / (to.count - from.count));
}

/** Messages that wait: handed in while the broker is away, and drained when it is back. */
import { setTimeout as delay } from 'node:timers/promises';
import { type LoadResult, type LoadTask, REQUEST_VALUES, startLoad } from './drivers/load.js';
import type { BenchService, ConnectorFigures } from './service.js';

/** The slowest that is still waited for; what is slower hangs. */
const LEAST_PER_SECOND = 2000;
const FIXED_TIMEOUT_MS = 60_000;
const POLL_MS = 20;
const NEWS_EVERY_MS = 10_000;

/** How long so many messages may take at most. */
export function timeoutMsFor(messagesCount: number): number {
  return FIXED_TIMEOUT_MS + (messagesCount / LEAST_PER_SECOND) * 1000;
}

/** The nearest number of messages that whole requests make; at least one request. */
export function wholeRequests(messagesCount: number): number {
  return Math.max(1, Math.round(messagesCount / REQUEST_VALUES)) * REQUEST_VALUES;
}

export interface FillTask {
  messagesCount: number;
  pointsCount?: number;
  /** Told now and then how many are accepted, and at the end. */
  onProgress?(acceptedCount: number, elapsedMs: number): void;
  progressEveryMs?: number;
}

/** Hands in so many time-values and waits for the last receipt. */
export async function fill(service: BenchService, task: FillTask): Promise<LoadResult> {
  const { messagesCount, pointsCount = 500, onProgress, progressEveryMs = NEWS_EVERY_MS } = task;
  const load = await startLoad(service, { pointsCount, requestsCount: messagesCount / REQUEST_VALUES });
  const startMs = performance.now();
  let isFilling = true;
  const ended = load.result.then(
    () => {
      isFilling = false;
    },
    () => {
      isFilling = false;
    },
  );
  const watch = async (): Promise<void> => {
    for (;;) {
      await Promise.race([ended, delay(progressEveryMs)]);
      if (!isFilling) return;
      const { valuesCount } = await load.ask();
      onProgress?.(valuesCount, performance.now() - startMs);
    }
  };
  try {
    if (onProgress !== undefined) await watch();
    const result = await load.finish(timeoutMsFor(messagesCount));
    onProgress?.(result.valuesCount, result.elapsedMs);
    return result;
  } finally {
    await load.end();
  }
}

export interface DrainTask {
  /** What waits, all of it telemetry. */
  messagesCount: number;
  /** How many the service had published before, since it started. */
  publishedBefore?: number;
  onProgress?(figures: ConnectorFigures): void;
  pollMs?: number;
}

export interface Drain {
  messagesCount: number;
  /** From the moment at which the connector was online to the last acknowledgement, by the service's own clock. */
  elapsedMs: number;
  perSecond: number;
  /** Time since the connector was online, and how many were acknowledged by then. */
  points: (readonly [elapsedMs: number, publishedCount: number])[];
}

/** Waits until the connector is online and then until the broker has acknowledged everything that waited. */
export async function drain(service: BenchService, task: DrainTask): Promise<Drain> {
  const { messagesCount, publishedBefore = 0, onProgress, pollMs = POLL_MS } = task;
  const { sinceMs } = await service.online();
  const points: (readonly [number, number])[] = [[0, 0]];
  const last = await service.until(
    (figures) => {
      const publishedCount = figures.counts.telemetry.published - publishedBefore;
      if (figures.lastAcknowledgedAtMs !== undefined) {
        points.push([figures.lastAcknowledgedAtMs - sinceMs, publishedCount]);
      }
      onProgress?.(figures);
      return publishedCount >= messagesCount;
    },
    `${messagesCount} messages at the broker`,
    timeoutMsFor(messagesCount),
    pollMs,
  );
  const elapsedMs = Math.max(1, (last.lastAcknowledgedAtMs ?? Number.NaN) - sinceMs);
  return { messagesCount, elapsedMs, perSecond: (messagesCount * 1000) / elapsedMs, points };
}

export interface Passage {
  messagesCount: number;
  elapsedMs: number;
  perSecond: number;
}

/** Hands in so many time-values while the broker is there: from the first request to the last acknowledgement. */
export async function pass(
  service: BenchService,
  messagesCount: number,
  task: Partial<LoadTask> = {},
): Promise<Passage> {
  const before = (await service.status()).counts.telemetry.published;
  const load = await startLoad(service, { ...task, requestsCount: messagesCount / REQUEST_VALUES });
  try {
    const startMs = performance.now();
    await load.finish(timeoutMsFor(messagesCount));
    await service.until(
      ({ counts }) => counts.telemetry.published >= before + messagesCount,
      `${messagesCount} messages at the broker`,
      timeoutMsFor(messagesCount),
      POLL_MS / 2,
    );
    const elapsedMs = performance.now() - startMs;
    return { messagesCount, elapsedMs, perSecond: (messagesCount * 1000) / elapsedMs };
  } finally {
    await load.end();
  }
}

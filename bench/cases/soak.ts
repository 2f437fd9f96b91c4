/** An hour at half of the top rate, with a broker that goes away every five minutes: memory, and that nothing is lost. */
import { setTimeout as delay } from 'node:timers/promises';
import { temporaryFolder } from '../../test/kit/temporary-folder.js';
import { type BenchBroker, startBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { type Arrivals, startCounting } from '../drivers/counting.js';
import { startLoad } from '../drivers/load.js';
import { pass, wholeRequests } from '../filling.js';
import { roundTo, type SampledFigures, Sampler, thinOut } from '../sampler.js';
import { type BenchService, withService } from '../service.js';
import { formatCount, formatFigure, median } from '../statistics.js';

const SOAK_MS = 3_600_000;
const RESTART_EVERY_MS = 300_000;
const RESTART_LEAST_MS = 4000;
/** How long the broker is away each time. */
const AWAY_MS = 5000;
const SAMPLE_MS = 2000;
const TOP_COUNT = 2_000_000;
const TOP_LEAST_COUNT = 100_000;
const STATE_TIMEOUT_MS = 60_000;
/** For what waits at the end, and for the subscriber to have it. */
const REST_TIMEOUT_MS = 600_000;
const NEWS_MS = 60_000;
/** Memory at the end against memory when everything has been used once: the last sixth against the second. */
const PARTS = 6;
const GROWTH_MAX = 1.1;
const PLOT_POINTS_MAX = 360;
const MEGABYTE = 1_000_000;

type Counting = Awaited<ReturnType<typeof startCounting>>;

interface Figures {
  topPerSecond: number;
  perSecond: number;
  soakedMs: number;
  restartsCount: number;
  sentCount: number;
  waitingMostCount: number;
  /** By the counts of the service. */
  acceptedCount: number;
  publishedCount: number;
  possibleDuplicates: number;
  arrivals: Arrivals;
  sampled: SampledFigures;
}

export const soak: BenchCase = {
  name: 'soak',
  title: 'An hour at half of the top rate',
  async run(context) {
    const location = `persistence_location ${temporaryFolder('bench-broker')}/`;
    const broker = await startBroker('none', ['persistence true', location]);
    try {
      const counting = await startCounting(broker);
      try {
        const measured = await withService({ brokerUrl: broker.url }, (service) =>
          measure(context, service, broker, counting),
        );
        return resultOf(measured);
      } finally {
        await counting.end();
      }
    } finally {
      await broker.stop();
    }
  },
};

async function measure(
  { scale, progress }: BenchContext,
  service: BenchService,
  broker: BenchBroker,
  counting: Counting,
): Promise<Figures> {
  const topCount = Math.max(TOP_LEAST_COUNT, wholeRequests(TOP_COUNT * scale));
  const soakedMs = SOAK_MS * scale;
  const everyMs = Math.max(RESTART_LEAST_MS, RESTART_EVERY_MS * scale);
  const awayMs = Math.min(AWAY_MS, everyMs / 4);

  await service.online();
  // The first half makes it warm; the top rate is that of the second.
  await pass(service, topCount, { isNumbered: true });
  const { perSecond: topPerSecond } = await pass(service, topCount, { isNumbered: true, numbersFrom: topCount });
  await arrived(counting, 2 * topCount);
  const perSecond = Math.round(topPerSecond / 2);
  progress(`top rate ${formatCount(topPerSecond)}/s; half of it for ${formatCount(soakedMs / 1000)} s`);

  const load = await startLoad(service, { valuesPerSecond: perSecond, isNumbered: true, numbersFrom: 2 * topCount });
  const sampler = new Sampler(service, Math.max(100, SAMPLE_MS * scale));
  try {
    const startMs = performance.now();
    let restartsCount = 0;
    let waitingMostCount = 0;
    let newsMs = 0;
    for (;;) {
      const atMs = performance.now() - startMs;
      if (atMs >= soakedMs) break;
      // Not in the last moments, so that what is in memory at the end is that of a run and not of an outage.
      if (atMs >= (restartsCount + 1) * everyMs && atMs < soakedMs - everyMs / 2) {
        restartsCount++;
        await broker.stop();
        await delay(awayMs);
        await broker.restart();
      }
      await Promise.race([delay(Math.min(1000, everyMs / 10)), unexpectedEnd(load.result)]);
      const waiting = (await service.status()).cache.waitingCounts.telemetry;
      waitingMostCount = Math.max(waitingMostCount, waiting);
      if (atMs < newsMs) continue;
      newsMs += NEWS_MS;
      const megabytes = formatFigure(sampler.latest.residentBytes / MEGABYTE);
      progress(`${formatCount(atMs / 1000)} s: ${megabytes} MB, ${formatCount(waiting)} waiting`);
    }
    const { valuesCount } = await load.stop(STATE_TIMEOUT_MS);
    const sampled = sampler.stop();
    const sentCount = 2 * topCount + valuesCount;
    const last = await service.until(
      ({ cache }) => cache.waitingCounts.telemetry === 0,
      'everything to be at the broker',
      REST_TIMEOUT_MS,
    );
    await arrived(counting, sentCount);
    const arrivals = await counting.stop(STATE_TIMEOUT_MS);
    const { accepted, published, possibleDuplicates } = last.counts.telemetry;
    return {
      topPerSecond,
      perSecond,
      soakedMs,
      restartsCount,
      sentCount,
      waitingMostCount,
      acceptedCount: accepted,
      publishedCount: published,
      possibleDuplicates,
      arrivals,
      sampled,
    };
  } finally {
    sampler.cancel();
    await load.end();
  }
}

async function unexpectedEnd(result: Promise<unknown>): Promise<never> {
  await result;
  throw new Error('The load has ended by itself.');
}

/** Waits for the subscriber to have so many numbers, and no longer when nothing has come for a while: that is a loss. */
async function arrived(counting: Counting, count: number): Promise<void> {
  let last = 0;
  let lastMs = performance.now();
  while (performance.now() - lastMs < STATE_TIMEOUT_MS) {
    const { distinctCount } = await counting.ask();
    if (distinctCount >= count) return;
    if (distinctCount > last) {
      last = distinctCount;
      lastMs = performance.now();
    }
    await delay(100);
  }
}

function resultOf(figures: Figures): BenchResult {
  const { arrivals, sampled, sentCount } = figures;
  const lostCount = sentCount - arrivals.distinctCount;
  const growth = growthOf(sampled);
  const megabytes = (bytes: number): string => `${formatFigure(bytes / MEGABYTE)} MB`;
  const minutes = formatFigure(figures.soakedMs / 60_000);
  return {
    paragraphs: [
      `Time-values at QoS 1 with a number in each, by HTTP in requests of 1000, for ${minutes} minutes at half of the rate that the same set-up reached just before. The broker keeps its sessions on disk; it is stopped every ${formatFigure(RESTART_EVERY_MS / 60_000)} minutes and started again ${AWAY_MS / 1000} s later. A subscriber with a persistent session, in a process of its own, marks each number that arrives; it takes its part of the two cores, too.`,
    ],
    tables: [
      {
        caption: 'Soak',
        columns: ['figure', 'measured'],
        rows: [
          ['top rate in this set-up', `${formatCount(figures.topPerSecond)}/s`],
          ['rate of the soak', `${formatCount(figures.perSecond)}/s`],
          ['restarts of the broker', formatCount(figures.restartsCount)],
          ['messages accepted', formatCount(sentCount)],
          ['of these at the subscriber', formatCount(arrivals.distinctCount)],
          ['lost', formatCount(lostCount)],
          ['more than once at the subscriber (QoS 1)', formatCount(arrivals.receivedCount - arrivals.distinctCount)],
          ['possible duplicates by the count of the service', formatCount(figures.possibleDuplicates)],
          ['most that waited', formatCount(figures.waitingMostCount)],
          ['memory at its most', megabytes(sampled.peakBytes)],
          ['memory, last sixth of the time against the second', `${growth.toFixed(2)} ×`],
          ['disk at its most', megabytes(sampled.diskMostBytes)],
        ],
      },
    ],
    plots: [
      {
        file: 'soak-memory.svg',
        title: 'Memory and disk over an hour',
        xLabel: 'minutes',
        yLabel: 'MB',
        xScale: 'linear',
        yScale: 'linear',
        series: [
          { label: 'resident memory', points: pointsOf(sampled, ({ residentBytes }) => residentBytes) },
          { label: 'disk', points: pointsOf(sampled, ({ diskBytes }) => diskBytes) },
        ],
      },
    ],
    verdicts: [
      {
        target: 'soak, an hour at half the top rate with a broker restart every five minutes: memory flat (10 %)',
        measured: `${growth.toFixed(2)} × in the last sixth of the time, at most ${megabytes(sampled.peakBytes)}`,
        isMet: growth <= GROWTH_MAX,
      },
      {
        target: 'soak, an hour at half the top rate with a broker restart every five minutes: nothing lost',
        measured: `${formatCount(lostCount)} of ${formatCount(sentCount)} lost, ${figures.restartsCount} restarts`,
        isMet: lostCount === 0 && arrivals.lostSessionsCount === 0,
      },
    ],
    raw: { ...figures, sampled: { ...sampled, samples: thinOut(sampled.samples, PLOT_POINTS_MAX) } },
  };
}

function growthOf({ samples }: SampledFigures): number {
  const endMs = samples.at(-1)?.atMs ?? 0;
  const partOf = (part: number): number =>
    median(
      samples
        .filter(({ atMs }) => atMs >= (endMs * part) / PARTS && atMs <= (endMs * (part + 1)) / PARTS)
        .map(({ residentBytes }) => residentBytes),
    );
  return partOf(PARTS - 1) / partOf(1);
}

function pointsOf(
  { samples }: SampledFigures,
  read: (sample: SampledFigures['samples'][number]) => number,
): (readonly [number, number])[] {
  return thinOut(samples, PLOT_POINTS_MAX).map(
    (sample) => [roundTo(sample.atMs / 60_000, 2), roundTo(read(sample) / MEGABYTE, 1)] as const,
  );
}

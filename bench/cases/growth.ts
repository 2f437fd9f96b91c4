/** Cost against the number of messages: a thousand to ten million, accepted while the broker is away and then drained. */
import { type BenchBroker, withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchPlot, BenchResult } from '../case.js';
import { drain, fill, pass, wholeRequests } from '../filling.js';
import { roundTo, thinOut } from '../sampler.js';
import { type BenchService, withService } from '../service.js';
import { formatCount, formatFigure, median } from '../statistics.js';

/** Each so many times at most; the large ones are their own repetition. */
const SIZES = [
  { messagesCount: 1000, runsMax: 9 },
  { messagesCount: 10_000, runsMax: 9 },
  { messagesCount: 100_000, runsMax: 5 },
  { messagesCount: 1_000_000, runsMax: 3 },
  { messagesCount: 10_000_000, runsMax: 1 },
] as const;
/** What is smaller has more of what does not depend on the number: a connection, a first sync. */
const BASE_COUNT = 100_000;
const WARM_UP_COUNT = 300_000;
/** Two measurements of the same thing on a shared machine differ by so much; a cost that grows shows far more. */
const COST_GROWTH_MAX = 1.2;
const STATE_TIMEOUT_MS = 30_000;
const LARGEST_POLL_MS = 100;
const POLL_MS = 5;
const RATE_POINTS = 20;
const PLOT_POINTS_MAX = 100;

type Points = (readonly [elapsedMs: number, count: number])[];

interface Run {
  messagesCount: number;
  acceptMs: number;
  drainMs: number;
  /** Time and how many were accepted by then; only of the largest. */
  accepted: Points;
  drained: Points;
}

export const growth: BenchCase = {
  name: 'growth',
  title: 'Cost from 1,000 to 10 million messages',
  async run(context) {
    const measured = await withBroker('none', (broker) =>
      withService({ brokerUrl: broker.url }, (service) => measure(context, service, broker)),
    );
    return resultOf(measured);
  },
};

async function measure(context: BenchContext, service: BenchService, broker: BenchBroker): Promise<Run[]> {
  const { runsCount, scale, progress } = context;
  const mostCount = wholeRequests(SIZES[SIZES.length - 1]!.messagesCount * scale);
  await service.online();
  // The first requests of a process wait for the compiler.
  await pass(service, wholeRequests(WARM_UP_COUNT * Math.min(1, scale * 10)));
  const runs: Run[] = [];
  for (const { messagesCount, runsMax } of SIZES) {
    if (messagesCount > mostCount) break;
    for (let index = 0; index < Math.min(runsCount, runsMax); index++) {
      const run = await measureOne(service, broker, messagesCount);
      runs.push(run);
      const each = [run.acceptMs, run.drainMs].map((ms) => formatFigure((ms * 1000) / messagesCount));
      progress(`${formatCount(messagesCount)} messages: ${each[0]} µs each to accept, ${each[1]} µs to drain`);
    }
  }
  return runs;
}

async function measureOne(service: BenchService, broker: BenchBroker, messagesCount: number): Promise<Run> {
  await broker.stop();
  const { counts } = await service.until(
    ({ state, cache }) => state !== 'online' && cache.waitingCounts.telemetry === 0,
    'the loss of the connection',
    STATE_TIMEOUT_MS,
  );
  const isLarge = messagesCount > BASE_COUNT;
  const accepted: Points = [[0, 0]];
  const filled = await fill(service, {
    messagesCount,
    ...(isLarge ? { onProgress: (count, elapsedMs) => void accepted.push([Math.round(elapsedMs), count]) } : {}),
    progressEveryMs: LARGEST_POLL_MS,
  });
  await broker.restart();
  const publishedBefore = counts.telemetry.published;
  const pollMs = isLarge ? LARGEST_POLL_MS : POLL_MS;
  const drained = await drain(service, { messagesCount, publishedBefore, pollMs });
  return {
    messagesCount,
    acceptMs: filled.elapsedMs,
    drainMs: drained.elapsedMs,
    accepted,
    drained: isLarge ? drained.points : [],
  };
}

function resultOf(runs: readonly Run[]): BenchResult {
  const counts = [...new Set(runs.map((run) => run.messagesCount))];
  const mostCount = counts.at(-1) ?? 0;
  const baseCount = counts.includes(BASE_COUNT) ? BASE_COUNT : mostCount;
  const ways = [
    { verb: 'accepting', read: (run: Run) => run.acceptMs },
    { verb: 'draining', read: (run: Run) => run.drainMs },
  ];
  const msOf = (count: number, read: (run: Run) => number): number =>
    median(runs.filter((run) => run.messagesCount === count).map(read));
  const microsecondsEach = (count: number, read: (run: Run) => number): number => (msOf(count, read) * 1000) / count;
  const largest = runs.find((run) => run.messagesCount === mostCount);
  const accepting = ratesOf(largest?.accepted ?? [], mostCount);
  const backlogShare = lastAgainstFirst(accepting.map(([, rate]) => rate));
  return {
    paragraphs: [
      'While the broker is away, so many time-values are handed in by HTTP in requests of 1000, each synced; then the broker comes back. Accepting takes from the first request to the last receipt, draining from the moment at which the connector is online to the last acknowledgement. One service for all of them; the small ones are measured several times, and the median counts.',
    ],
    tables: [
      {
        caption: 'Cost against the number of messages',
        columns: ['messages', 'accepting', 'each', 'draining', 'each'],
        rows: counts.map((count) => [
          formatCount(count),
          ...ways.flatMap(({ read }) => [
            `${formatFigure(msOf(count, read) / 1000)} s`,
            `${formatFigure(microsecondsEach(count, read))} µs`,
          ]),
        ]),
      },
    ],
    plots: [growthPlot(counts, ways, msOf), ratePlot(largest, mostCount)],
    verdicts: [
      ...ways.map(({ verb, read }) => {
        const share = microsecondsEach(mostCount, read) / microsecondsEach(baseCount, read);
        return {
          target: `cost grows linearly: ${verb} one of 10 million costs at most ${COST_GROWTH_MAX} × what one of ${formatCount(BASE_COUNT)} costs`,
          measured: `${share.toFixed(2)} × at ${formatCount(mostCount)}`,
          isMet: share <= COST_GROWTH_MAX,
        };
      }),
      {
        target: `cost does not grow with the backlog: the last third of 10 million is accepted at ${(1 / COST_GROWTH_MAX).toFixed(2)} of the rate of the first at least`,
        measured: backlogShare.toFixed(2),
        isMet: backlogShare >= 1 / COST_GROWTH_MAX,
      },
    ],
    raw: runs.map((run) => ({
      ...run,
      accepted: thinOut(run.accepted, PLOT_POINTS_MAX),
      drained: thinOut(run.drained, PLOT_POINTS_MAX),
    })),
  };
}

function growthPlot(
  counts: readonly number[],
  ways: readonly { verb: string; read: (run: Run) => number }[],
  msOf: (count: number, read: (run: Run) => number) => number,
): BenchPlot {
  return {
    file: 'growth.svg',
    title: 'Time for so many messages',
    xLabel: 'messages',
    yLabel: 'seconds',
    xScale: 'log',
    yScale: 'log',
    series: ways.map(({ verb, read }) => ({
      label: verb,
      points: counts.map((count) => [count, msOf(count, read) / 1000] as const),
    })),
  };
}

function ratePlot(largest: Run | undefined, mostCount: number): BenchPlot {
  const series = (label: string, points: Points, waitingAt: (count: number) => number) => ({
    label,
    points: ratesOf(points, mostCount).map(
      ([count, rate]) => [roundTo(waitingAt(count) / 1_000_000, 3), Math.round(rate)] as const,
    ),
  });
  return {
    file: 'growth-backlog.svg',
    title: 'Rate against the backlog',
    xLabel: 'millions of messages that wait',
    yLabel: 'messages per second',
    xScale: 'linear',
    yScale: 'linear',
    series: [
      series('accepting', largest?.accepted ?? [], (count) => count),
      series('draining', largest?.drained ?? [], (count) => mostCount - count),
    ],
  };
}

/** The rate in each of some equal parts of the messages, at the middle of the part, as far as there are points for it. */
function ratesOf(points: Points, mostCount: number): (readonly [count: number, perSecond: number])[] {
  const rates: (readonly [number, number])[] = [];
  let [fromMs, fromCount] = points[0] ?? [0, 0];
  for (const [atMs, count] of points) {
    if (count - fromCount < mostCount / RATE_POINTS && count < mostCount) continue;
    if (atMs > fromMs && count > fromCount) {
      rates.push([(fromCount + count) / 2, ((count - fromCount) * 1000) / (atMs - fromMs)]);
    }
    [fromMs, fromCount] = [atMs, count];
  }
  return rates;
}

function lastAgainstFirst(rates: readonly number[]): number {
  const third = Math.max(1, Math.floor(rates.length / 3));
  return median(rates.slice(-third)) / median(rates.slice(0, third));
}

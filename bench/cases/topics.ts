/** Many distinct topics: what is remembered of a topic must not make it slow, nor the memory grow. */
import { withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { REQUEST_VALUES } from '../drivers/load.js';
import { pass, wholeRequests } from '../filling.js';
import { type BenchService, startService } from '../service.js';
import { formatCount, formatFigure, formatSpread, median } from '../statistics.js';

const FEW_COUNT = 500;
const MANY_COUNT = 1_000_000;
const MESSAGES_COUNT = 1_000_000;
const TARGET_SHARE = 0.9;
const MEGABYTE = 1_000_000;

interface Run {
  topicsCount: number;
  perSecond: number;
  residentBytes: number;
  peakBytes: number;
}

export const topics: BenchCase = {
  name: 'topics',
  title: 'A million distinct topics',
  async run(context) {
    return resultOf(await withBroker('none', ({ url }) => measure(context, url)));
  },
};

/** One service for each number of topics, both at the same time: what one remembers is not in the memory of the other. */
async function measure({ runsCount, scale, progress }: BenchContext, brokerUrl: string): Promise<Run[]> {
  const messagesCount = wholeRequests(MESSAGES_COUNT * scale);
  const manyCount = Math.max(2 * REQUEST_VALUES, Math.round(MANY_COUNT * scale));
  const services: { topicsCount: number; service: BenchService }[] = [];
  try {
    for (const topicsCount of [FEW_COUNT, manyCount]) {
      const service = await startService({ brokerUrl, settings: { clientId: `topics-${topicsCount}` } });
      services.push({ topicsCount, service });
      await service.online();
      // Every topic has been seen once when the first measured run begins.
      await pass(service, messagesCount, { pointsCount: topicsCount });
    }
    const runs: Run[] = [];
    for (let index = 0; index < runsCount; index++) {
      for (const { topicsCount, service } of services) {
        const { perSecond } = await pass(service, messagesCount, { pointsCount: topicsCount });
        runs.push({ topicsCount, perSecond, ...service.memory() });
        progress(`run ${index + 1}, ${formatCount(topicsCount)} topics: ${formatCount(perSecond)}/s`);
      }
    }
    return runs;
  } finally {
    for (const { service } of services) await service.remove();
  }
}

function resultOf(runs: readonly Run[]): BenchResult {
  const counts = [...new Set(runs.map((run) => run.topicsCount))];
  const figures = (topicsCount: number, read: (run: Run) => number): number[] =>
    runs.filter((run) => run.topicsCount === topicsCount).map(read);
  const [few = Number.NaN, many = Number.NaN] = counts.map((count) => median(figures(count, (run) => run.perSecond)));
  const share = many / few;
  return {
    paragraphs: [
      'Time-values at QoS 1, in requests of 1000, each value of the next of so many points, so that all of them come by before one is repeated. Payloads and topics have the same length in both. From the first request to the last acknowledgement.',
    ],
    tables: [
      {
        caption: 'Distinct topics',
        columns: ['topics', 'messages per second, median (least to most)', 'of that with 500', 'memory', 'at its most'],
        rows: counts.map((count) => {
          const perSecond = figures(count, (run) => run.perSecond);
          const megabytes = (read: (run: Run) => number): string =>
            `${formatFigure(Math.max(...figures(count, read)) / MEGABYTE)} MB`;
          return [
            formatCount(count),
            formatSpread(perSecond),
            (median(perSecond) / few).toFixed(2),
            megabytes((run) => run.residentBytes),
            megabytes((run) => run.peakBytes),
          ];
        }),
      },
    ],
    plots: [],
    verdicts: [
      {
        target: '1 million distinct topics: no more than 10 % slower than few',
        measured: `${share.toFixed(2)} of the rate with ${FEW_COUNT}`,
        isMet: share >= TARGET_SHARE,
      },
    ],
    raw: runs,
  };
}

/** One value per request, as a simple producer sends it: many connections at once, each request with its token. */
import { withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { startLoad } from '../drivers/load.js';
import { type BenchService, withService } from '../service.js';
import { formatCount, formatFigure, formatShare, formatSpread, median } from '../statistics.js';

const TOKEN = 'bench-token-0123456789abcdef0123456789';
const TARGET_PER_SECOND = 10_000;
/** The target is for the first. */
const CONNECTION_COUNTS = [64, 8, 1] as const;
const REQUEST_COUNTS = { 64: 60_000, 8: 20_000, 1: 3000 } as const;
const RUN_TIMEOUT_MS = 120_000;

interface Run {
  connectionsCount: number;
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  serviceCpuShare: number;
  brokerCpuShare: number;
  loadCpuShare: number;
}

export const singleValues: BenchCase = {
  name: 'single-values',
  title: 'One value per request',
  async run(context) {
    const measured = await withBroker('none', (broker) =>
      withService({ brokerUrl: broker.url, token: TOKEN }, (service) =>
        measure(context, service, () => broker.watchCpu()),
      ),
    );
    return resultOf(measured);
  },
};

async function measure(
  { runsCount, scale, progress }: BenchContext,
  service: BenchService,
  watchBroker: () => { share: number },
): Promise<Run[]> {
  await service.online();
  let sentCount = 0;
  const load = async (connectionsCount: number, wantedCount: number): Promise<Run> => {
    const requestsCount = Math.max(connectionsCount, Math.ceil(wantedCount * scale));
    const driver = await startLoad(service, { connectionsCount, requestsCount, valuesCount: 1, token: TOKEN });
    const ofService = service.watchCpu();
    const ofBroker = watchBroker();
    const { elapsedMs, p50Ms, p99Ms, ownCpuShare } = await driver.finish(RUN_TIMEOUT_MS);
    const shares = { serviceCpuShare: ofService.share, brokerCpuShare: ofBroker.share, loadCpuShare: ownCpuShare };
    sentCount += requestsCount;
    // What one run leaves to be published must not be part of the next one.
    const published = await service.until(
      ({ counts }) => counts.telemetry.published >= sentCount,
      `${sentCount} messages at the broker`,
      RUN_TIMEOUT_MS,
    );
    if (published.counts.telemetry.accepted !== sentCount) {
      throw new Error(`${published.counts.telemetry.accepted} were accepted, but ${sentCount} were answered with 202.`);
    }
    return { connectionsCount, perSecond: (requestsCount * 1000) / elapsedMs, p50Ms, p99Ms, ...shares };
  };

  // The first requests of a process wait for the compiler.
  await load(CONNECTION_COUNTS[0], REQUEST_COUNTS[64] / 3);
  const runs: Run[] = [];
  for (let index = 0; index < runsCount; index++) {
    for (const connectionsCount of CONNECTION_COUNTS) {
      const run = await load(connectionsCount, REQUEST_COUNTS[connectionsCount]);
      runs.push(run);
      progress(`run ${index + 1}, ${connectionsCount} connections: ${formatCount(run.perSecond)} requests/s`);
    }
  }
  return runs;
}

function resultOf(runs: readonly Run[]): BenchResult {
  const figures = (connectionsCount: number, read: (run: Run) => number): number[] =>
    runs.filter((run) => run.connectionsCount === connectionsCount).map(read);
  const perSecond = median(figures(CONNECTION_COUNTS[0], (run) => run.perSecond));
  return {
    paragraphs: [
      'Each request hands in one time-value of about 100 bytes and carries a bearer token; it is answered with 202 when the value is on stable storage. Connections stay open, each has one request under way. Meanwhile the values are published at QoS 1; each run ends when the broker has acknowledged all of them, and the time is that of the requests alone. The load comes from a process of its own that writes prepared bytes; its share of a core shows whether it was the limit.',
    ],
    tables: [
      {
        caption: 'One value per request',
        columns: [
          'connections',
          'requests per second, median (least to most)',
          'p50',
          'p99',
          'CPU of the service',
          'of the broker',
          'of the load',
        ],
        rows: CONNECTION_COUNTS.map((count) => {
          const share = (read: (run: Run) => number): string => formatShare(median(figures(count, read)));
          return [
            String(count),
            formatSpread(figures(count, (run) => run.perSecond)),
            `${formatFigure(median(figures(count, (run) => run.p50Ms)))} ms`,
            `${formatFigure(median(figures(count, (run) => run.p99Ms)))} ms`,
            share((run) => run.serviceCpuShare),
            share((run) => run.brokerCpuShare),
            share((run) => run.loadCpuShare),
          ];
        }),
      },
    ],
    plots: [],
    verdicts: [
      {
        target: `one value per request, ${CONNECTION_COUNTS[0]} connections, bearer token: at least ${formatCount(TARGET_PER_SECOND)} requests/s, each synced`,
        measured: `${formatCount(perSecond)} requests/s`,
        isMet: perSecond >= TARGET_PER_SECOND,
      },
    ],
    raw: runs,
  };
}

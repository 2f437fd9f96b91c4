/** The alert lane: how long an alert takes to a subscriber while telemetry keeps everything else busy. */
import { type BenchBroker, startBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { type AlertResult, startAlerts } from '../drivers/alerts.js';
import { startLoad } from '../drivers/load.js';
import { fill, wholeRequests } from '../filling.js';
import { roundTo } from '../sampler.js';
import { type BenchService, withService } from '../service.js';
import { formatCount, formatFigure, formatSpread, median, percentile } from '../statistics.js';

const ALERTS_COUNT = 400;
const ALERTS_LEAST_COUNT = 40;
const BACKLOG_COUNT = 10_000_000;
const BACKLOG_LEAST_COUNT = 500_000;
const TARGET_P50_MS = 3;
const TARGET_P99_MS = 15;
const RUN_TIMEOUT_MS = 180_000;

interface Run extends AlertResult {
  phase: string;
  /** Telemetry that waited when the run ended. */
  waitingCount: number;
}

const PHASES = {
  quiet: 'nothing else to do',
  saturated: 'telemetry saturated',
  backlog: 'a backlog drains',
} as const;

export const alerts: BenchCase = {
  name: 'alerts',
  title: 'The alert lane under load',
  async run(context) {
    const runs: Run[] = [];
    const broker = await startBroker('none');
    try {
      await withService({ brokerUrl: broker.url }, async (service) => {
        await service.online();
        // The first requests of a process wait for the compiler.
        await send(context, service, broker, PHASES.quiet);
        for (let index = 0; index < context.runsCount; index++) {
          runs.push(await send(context, service, broker, PHASES.quiet));
        }
        const load = await startLoad(service);
        try {
          await send(context, service, broker, PHASES.saturated);
          for (let index = 0; index < context.runsCount; index++) {
            runs.push(await send(context, service, broker, PHASES.saturated));
          }
          await load.stop(RUN_TIMEOUT_MS);
        } finally {
          await load.end();
        }
      });
      await withService({ brokerUrl: broker.url }, async (service) => {
        runs.push(...(await sendWhileDraining(context, service, broker)));
      });
      return resultOf(runs);
    } finally {
      await broker.stop();
    }
  },
};

async function send(
  { scale, progress }: BenchContext,
  service: BenchService,
  broker: BenchBroker,
  phase: string,
): Promise<Run> {
  const count = Math.max(ALERTS_LEAST_COUNT, Math.round(ALERTS_COUNT * scale));
  const driver = await startAlerts(service, broker, count);
  const result = await driver.finish(RUN_TIMEOUT_MS);
  const waitingCount = (await service.status()).cache.waitingCounts.telemetry;
  const times = [0.5, 0.99].map((share) => formatFigure(percentile(result.deliveryMs, share)));
  progress(`${phase}, ${formatCount(waitingCount)} waiting: p50 ${times[0]} ms, p99 ${times[1]} ms`);
  return { phase, waitingCount, ...result };
}

/** A run counts when telemetry still waits at its end; the others were not made under the load that they are to show. */
async function sendWhileDraining(context: BenchContext, service: BenchService, broker: BenchBroker): Promise<Run[]> {
  const messagesCount = Math.max(BACKLOG_LEAST_COUNT, wholeRequests(BACKLOG_COUNT * context.scale));
  await broker.stop();
  await service.until(({ state }) => state !== 'online', 'the loss of the connection', RUN_TIMEOUT_MS);
  context.progress(`filling ${formatCount(messagesCount)} messages while the broker is away`);
  await fill(service, { messagesCount });
  await broker.restart();
  await service.online();
  const runs: Run[] = [];
  while (runs.length < context.runsCount) {
    const run = await send(context, service, broker, PHASES.backlog);
    if (run.waitingCount === 0) break;
    runs.push(run);
  }
  if (runs.length === 0) throw new Error(`${messagesCount} messages were drained before a single run was complete.`);
  return runs;
}

function resultOf(runs: readonly Run[]): BenchResult {
  const timesOf = (phase: string, read: (run: Run) => readonly number[], share: number): number[] =>
    runs.filter((run) => run.phase === phase).map((run) => percentile(read(run), share));
  const formatMs = (values: readonly number[]): string => `${formatSpread(values, formatFigure)} ms`;
  const delivery = (run: Run): readonly number[] => run.deliveryMs;
  const all = (phase: string): number[] => runs.filter((run) => run.phase === phase).flatMap(delivery);
  return {
    paragraphs: [
      'Single alerts at QoS 1, one every 10 to 20 ms, while telemetry comes in requests of 1000 over 4 connections as fast as they are answered, and while a backlog of 10 million messages drains. Sender and subscriber are one process with one clock, apart from those that make the load. Delivery is the time from the receipt, which says that the alert is on stable storage, to the subscriber; 0 where the alert was there before its receipt. The whole time begins when the alert was due to be sent and has the storage in it. Each figure is the median of the runs, with the least and the most.',
    ],
    tables: [
      {
        caption: 'Times of an alert',
        columns: ['while', 'alerts', 'delivery p50', 'delivery p99', 'slowest', 'whole p50', 'whole p99'],
        rows: Object.values(PHASES).map((phase) => [
          phase,
          String(all(phase).length),
          formatMs(timesOf(phase, delivery, 0.5)),
          formatMs(timesOf(phase, delivery, 0.99)),
          `${formatFigure(percentile(all(phase), 1))} ms`,
          formatMs(timesOf(phase, (run) => run.wholeMs, 0.5)),
          formatMs(timesOf(phase, (run) => run.wholeMs, 0.99)),
        ]),
      },
    ],
    plots: [
      {
        file: 'alerts.svg',
        title: 'Delivery of alerts',
        xLabel: 'share of the alerts, per cent',
        yLabel: 'from receipt to subscriber, ms',
        xScale: 'linear',
        yScale: 'linear',
        series: Object.values(PHASES).map((phase) => ({
          label: phase,
          points: Array.from({ length: 100 }, (_unused, index) => {
            const share = (index + 1) / 100;
            return [index + 1, roundTo(percentile(all(phase), share), 3)] as const;
          }).slice(0, 99),
        })),
      },
    ],
    verdicts: [PHASES.saturated, PHASES.backlog].map((phase) => {
      const p50 = median(timesOf(phase, delivery, 0.5));
      const p99 = median(timesOf(phase, delivery, 0.99));
      const whole = [0.5, 0.99].map((share) => formatFigure(median(timesOf(phase, (run) => run.wholeMs, share))));
      return {
        target: `alert, while ${phase === PHASES.backlog ? 'a backlog of 10 million drains' : 'telemetry is saturated'}: accepted to subscriber p50 at most ${TARGET_P50_MS} ms, p99 at most ${TARGET_P99_MS} ms`,
        // A receipt that comes late makes the delivery look short; the whole time tells.
        measured: `p50 ${formatFigure(p50)} ms, p99 ${formatFigure(p99)} ms (with the way to the receipt ${whole.join(' and ')} ms)`,
        isMet: p50 <= TARGET_P50_MS && p99 <= TARGET_P99_MS,
      };
    }),
    raw: runs.map(({ phase, waitingCount, acceptMs, deliveryMs, wholeMs }) => ({
      phase,
      waitingCount,
      alertsCount: deliveryMs.length,
      acceptMs: quantilesOf(acceptMs),
      deliveryMs: quantilesOf(deliveryMs),
      wholeMs: quantilesOf(wholeMs),
    })),
  };
}

/** Share of the alerts, and what they did not exceed. */
function quantilesOf(times: readonly number[]): Record<string, number> {
  return Object.fromEntries(
    [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1].map((share) => [String(share), roundTo(percentile(times, share), 3)]),
  );
}

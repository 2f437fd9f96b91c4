/** Ten million messages that wait: what they take of memory and disk, the start after a kill, and the drain. */
import { type BenchBroker, withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchPlot, BenchResult } from '../case.js';
import { PAYLOAD_SIZE_BYTES } from '../drivers/load.js';
import { pointId } from '../drivers/values.js';
import { type Drain, drain, fill, pass, wholeRequests } from '../filling.js';
import { roundTo, type SampledFigures, Sampler, thinOut } from '../sampler.js';
import { type BenchService, withService } from '../service.js';
import { formatCount, formatFigure, formatSpread, median } from '../statistics.js';

const BACKLOG_COUNT = 10_000_000;
const LIVE_COUNT = 500_000;
const SAMPLE_MS = 250;
const STATE_TIMEOUT_MS = 30_000;
const PLOT_POINTS_MAX = 150;
const DRAIN_SLICES = 10;
const MEGABYTE = 1_000_000;

const TARGETS = { memoryBytes: 200 * MEGABYTE, openMs: 1000, drainShare: 0.9, diskShare: 1.5 };

interface Figures {
  messagesCount: number;
  /** Topics and payloads, as they are published. */
  messagesSizeBytes: number;
  acceptElapsedMs: number;
  filling: SampledFigures;
  /** What the data directory took when all was accepted, and when the killed service had started again. */
  diskFilledBytes: number;
  diskOpenedBytes: number;
  /** From the start of the process until it answers requests: with an empty cache, and with the backlog. */
  emptyOpenMs: number;
  openMs: number;
  drain: Drain;
  draining: SampledFigures;
  livePerSecond: number[];
}

export const backlog: BenchCase = {
  name: 'backlog',
  title: 'A backlog of 10 million messages',
  async run(context) {
    const measured = await withBroker('none', (broker) =>
      withService({ brokerUrl: broker.url }, (service) => measure(context, service, broker)),
    );
    return resultOf(measured);
  },
};

async function measure(context: BenchContext, service: BenchService, broker: BenchBroker): Promise<Figures> {
  const { runsCount, scale, progress } = context;
  const messagesCount = wholeRequests(BACKLOG_COUNT * scale);
  const liveCount = wholeRequests(LIVE_COUNT * scale);

  await service.online();
  await pass(service, liveCount);
  const livePerSecond: number[] = [];
  for (let index = 0; index < runsCount; index++) {
    const { perSecond } = await pass(service, liveCount);
    livePerSecond.push(perSecond);
    progress(`live, run ${index + 1}: ${formatCount(perSecond)}/s`);
  }
  await service.stop();
  const emptyOpenMs = await service.start();

  await broker.stop();
  await service.until(({ state }) => state !== 'online', 'the loss of the connection', STATE_TIMEOUT_MS);
  const { result: filled, sampled: filling } = await sampled(service, () =>
    fill(service, { messagesCount, onProgress: (count) => progress(`${formatCount(count)} accepted`) }),
  );
  const diskFilledBytes = service.diskBytes();
  await service.kill();
  const openMs = await service.start();
  const waiting = (await service.status()).cache.waitingCounts.telemetry;
  if (waiting !== messagesCount) throw new Error(`${messagesCount} were accepted, ${waiting} wait after the kill.`);
  const diskOpenedBytes = service.diskBytes();
  progress(`killed and started again in ${formatCount(openMs)} ms (${formatCount(emptyOpenMs)} ms when empty)`);

  await broker.restart();
  const { result: drained, sampled: draining } = await sampled(service, () =>
    drain(service, { messagesCount, pollMs: 100 }),
  );
  progress(`drained: ${formatCount(drained.perSecond)}/s`);
  return {
    messagesCount,
    messagesSizeBytes: messagesCount * (PAYLOAD_SIZE_BYTES + `bench/${pointId(0)}`.length),
    acceptElapsedMs: filled.elapsedMs,
    filling,
    diskFilledBytes,
    diskOpenedBytes,
    emptyOpenMs,
    openMs,
    drain: drained,
    draining,
    livePerSecond,
  };
}

async function sampled<T>(
  service: BenchService,
  work: () => Promise<T>,
): Promise<{ result: T; sampled: SampledFigures }> {
  const sampler = new Sampler(service, SAMPLE_MS);
  try {
    const result = await work();
    return { result, sampled: sampler.stop() };
  } finally {
    sampler.cancel();
  }
}

function resultOf(figures: Figures): BenchResult {
  const { messagesCount, messagesSizeBytes, filling, draining, drain: drained } = figures;
  const livePerSecond = median(figures.livePerSecond);
  const peakBytes = Math.max(filling.peakBytes, draining.peakBytes);
  const diskMostBytes = Math.max(filling.diskMostBytes, draining.diskMostBytes, figures.diskFilledBytes);
  const diskShare = diskMostBytes / messagesSizeBytes;
  const drainShare = drained.perSecond / livePerSecond;
  const slices = slicesOf(drained);
  const count = formatCount(messagesCount);
  return {
    paragraphs: [
      `While the broker is away, ${count} time-values are handed in by HTTP in requests of 1000, payloads of ${PAYLOAD_SIZE_BYTES} bytes. Then the service is killed with SIGKILL and started again; the time to open is that of the whole process, from its start until it answers requests. Then the broker comes back. Live is the rate at which the same service passes on what is handed in while the broker is there. The bytes of the messages are those of their topics and payloads; the disk is what the data directory takes in blocks, log and reserve included, at its most.`,
    ],
    tables: [
      {
        caption: `A backlog of ${count} messages`,
        columns: ['figure', 'measured'],
        rows: [
          ['accepted per second, each request synced', formatCount((messagesCount * 1000) / figures.acceptElapsedMs)],
          ['memory at its most while filling', megabytes(filling.peakBytes)],
          ['memory at its most while draining, after the kill', megabytes(draining.peakBytes)],
          ['bytes of the messages', megabytes(messagesSizeBytes)],
          ['disk at its most', `${megabytes(diskMostBytes)}, ${diskShare.toFixed(2)} × the messages`],
          ['disk after the kill and the start', megabytes(figures.diskOpenedBytes)],
          ['start of the service with an empty cache', `${formatCount(figures.emptyOpenMs)} ms`],
          ['start after the kill, with the backlog', `${formatCount(figures.openMs)} ms`],
          ['live, messages per second', formatSpread(figures.livePerSecond)],
          ['drained per second', formatCount(drained.perSecond)],
          ['drained per second, by tenths of the backlog', slices.map(formatCount).join(', ')],
        ],
      },
    ],
    plots: [memoryPlot(figures)],
    verdicts: [
      {
        target: `backlog of 10 million messages: memory at most ${megabytes(TARGETS.memoryBytes)} at any time`,
        measured: megabytes(peakBytes),
        isMet: peakBytes <= TARGETS.memoryBytes,
      },
      {
        target: 'backlog of 10 million messages: opens in at most 1 s after a kill',
        measured: `${formatCount(figures.openMs)} ms`,
        isMet: figures.openMs <= TARGETS.openMs,
      },
      {
        target: `backlog of 10 million messages: drains at ${TARGETS.drainShare} of the live rate at least`,
        measured: drainShare.toFixed(2),
        isMet: drainShare >= TARGETS.drainShare,
      },
      {
        target: `backlog of 10 million messages: disk at most ${TARGETS.diskShare} × the bytes of the messages`,
        measured: `${diskShare.toFixed(2)} ×`,
        isMet: diskShare <= TARGETS.diskShare,
      },
    ],
    raw: {
      ...figures,
      filling: thinned(filling),
      draining: thinned(draining),
      drain: { ...drained, points: thinOut(drained.points, PLOT_POINTS_MAX) },
    },
  };
}

/** The rate of each tenth of the drain; NaN for one that was over between two looks. */
function slicesOf({ points, messagesCount }: Drain): number[] {
  const timeAt = (count: number): number => points.find(([, published]) => published >= count)?.[0] ?? Number.NaN;
  return Array.from({ length: DRAIN_SLICES }, (_unused, index) => {
    const from = (messagesCount * index) / DRAIN_SLICES;
    const to = (messagesCount * (index + 1)) / DRAIN_SLICES;
    const elapsedMs = timeAt(to) - timeAt(from);
    return elapsedMs > 0 ? ((to - from) * 1000) / elapsedMs : Number.NaN;
  });
}

function memoryPlot({ filling, draining }: Figures): BenchPlot {
  const series = (label: string, { samples }: SampledFigures) => ({
    label,
    points: thinOut(samples, PLOT_POINTS_MAX).map(
      ({ atMs, residentBytes }) => [roundTo(atMs / 1000, 2), roundTo(residentBytes / MEGABYTE, 1)] as const,
    ),
  });
  return {
    file: 'backlog-memory.svg',
    title: 'Memory with a backlog of 10 million messages',
    xLabel: 'seconds',
    yLabel: 'resident memory, MB',
    xScale: 'linear',
    yScale: 'linear',
    series: [series('filling', filling), series('draining, after a kill', draining)],
  };
}

function thinned(figures: SampledFigures): SampledFigures {
  return { ...figures, samples: thinOut(figures.samples, PLOT_POINTS_MAX) };
}

function megabytes(bytes: number): string {
  return `${formatFigure(bytes / MEGABYTE)} MB`;
}

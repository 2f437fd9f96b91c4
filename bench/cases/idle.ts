/** Connected and nothing to do: what the service takes of the machine then. */
import { setTimeout as delay } from 'node:timers/promises';
import { type BenchBroker, withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { pass, wholeRequests } from '../filling.js';
import { type BenchService, COMMAND, withService } from '../service.js';
import { formatCount, formatFigure } from '../statistics.js';

const WATCH_MS = 60_000;
const WATCH_LEAST_MS = 2000;
/** What follows the last work: settlements that lag, checkpoints, the collector. */
const SETTLE_MS = 15_000;
const WORK_COUNT = 1_000_000;
const MEGABYTE = 1_000_000;
const TARGETS = { residentBytes: 90 * MEGABYTE, cpuShare: 0.01 };

interface Watch {
  after: string;
  watchedMs: number;
  /** At the end of the watch. */
  residentBytes: number;
  cpuShare: number;
  writtenBytes: number;
}

export const idle: BenchCase = {
  name: 'idle',
  title: 'Connected, nothing to do',
  async run(context) {
    const measured = await withBroker('default', (broker) =>
      withService({ brokerUrl: broker.url }, (service) => measure(context, service, broker)),
    );
    return resultOf(measured);
  },
};

async function measure(
  { scale, progress }: BenchContext,
  service: BenchService,
  broker: BenchBroker,
): Promise<Watch[]> {
  const settleMs = Math.max(WATCH_LEAST_MS, SETTLE_MS * scale);
  const watchedMs = Math.max(WATCH_LEAST_MS, WATCH_MS * scale);
  const watch = async (after: string): Promise<Watch> => {
    await delay(settleMs);
    // Nobody asks the service for anything meanwhile: the kernel keeps the account.
    const cpu = service.watchCpu();
    const writtenBefore = service.writtenBytes();
    await delay(watchedMs);
    const writtenBytes = service.writtenBytes() - writtenBefore;
    const { residentBytes } = service.memory();
    const cpuShare = cpu.share;
    progress(
      `${after}: ${formatFigure(residentBytes / MEGABYTE)} MB, ${percent(cpuShare)}, ${formatCount(writtenBytes)} bytes`,
    );
    const { state } = await service.status();
    if (state !== 'online') throw new Error(`The connector became ${state} while it was idle at ${broker.url}.`);
    return { after, watchedMs, residentBytes, cpuShare, writtenBytes };
  };
  await service.online();
  const fresh = await watch('the start');
  const workCount = wholeRequests(WORK_COUNT * scale);
  await pass(service, workCount);
  return [fresh, await watch(`${formatCount(workCount)} messages`)];
}

function resultOf(watches: readonly Watch[]): BenchResult {
  return {
    paragraphs: [
      `One connector, online with the broker, the HTTP server open, no input; the process is \`${COMMAND}\`. The kernel's account of ${formatFigure((watches[0]?.watchedMs ?? 0) / 1000)} s in which nobody asks for anything: resident memory with the shared pages of the program in it, CPU time of all threads, bytes that went to the disk. Once since the start, and once after work.`,
    ],
    tables: [
      {
        caption: 'Idle',
        columns: ['since', 'resident memory', 'share of a core', 'bytes written to the disk'],
        rows: watches.map(({ after, residentBytes, cpuShare, writtenBytes }) => [
          after,
          `${formatFigure(residentBytes / MEGABYTE)} MB`,
          percent(cpuShare),
          formatCount(writtenBytes),
        ]),
      },
    ],
    plots: [],
    verdicts: watches.map(({ after, residentBytes, cpuShare, writtenBytes }) => ({
      target: `idle since ${after}: at most ${formatFigure(TARGETS.residentBytes / MEGABYTE)} MB resident, less than 1 % of a core, no disk writes`,
      measured: `${formatFigure(residentBytes / MEGABYTE)} MB, ${percent(cpuShare)}, ${formatCount(writtenBytes)} bytes`,
      isMet: residentBytes <= TARGETS.residentBytes && cpuShare < TARGETS.cpuShare && writtenBytes === 0,
    })),
    raw: watches,
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

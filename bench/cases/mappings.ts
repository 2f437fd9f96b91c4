/** Long mappings: the topic of a point is looked up, and the length of the list must not matter. */
import { withBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult } from '../case.js';
import { pointId } from '../drivers/values.js';
import { pass, wholeRequests } from '../filling.js';
import { type BenchService, startService } from '../service.js';
import { formatCount, formatSpread, median } from '../statistics.js';

/** The others are compared with the first. */
const MAPPING_COUNTS = [100, 1000, 10_000] as const;
const MESSAGES_COUNT = 300_000;
const WARM_UP_COUNT = 100_000;
const TARGET_SHARE = 0.9;

interface Run {
  mappingsCount: number;
  perSecond: number;
}

export const mappings: BenchCase = {
  name: 'mappings',
  title: 'Long mappings',
  async run(context) {
    return resultOf(await withBroker('none', ({ url }) => measure(context, url)));
  },
};

async function measure({ runsCount, scale, progress }: BenchContext, brokerUrl: string): Promise<Run[]> {
  const messagesCount = wholeRequests(MESSAGES_COUNT * scale);
  const services: { mappingsCount: number; service: BenchService }[] = [];
  try {
    for (const mappingsCount of MAPPING_COUNTS) {
      const service = await startService({
        brokerUrl,
        settings: { clientId: `mappings-${mappingsCount}` },
        transformers: [{ type: 'time-values-to-mqtt', mapping: mappingOf(mappingsCount) }],
      });
      services.push({ mappingsCount, service });
      await service.online();
      // The first requests of a process wait for the compiler.
      await pass(service, wholeRequests(WARM_UP_COUNT * scale), { pointsCount: mappingsCount });
    }
    const runs: Run[] = [];
    for (let index = 0; index < runsCount; index++) {
      for (const { mappingsCount, service } of services) {
        const { perSecond } = await pass(service, messagesCount, { pointsCount: mappingsCount });
        runs.push({ mappingsCount, perSecond });
        progress(`run ${index + 1}, ${formatCount(mappingsCount)} mappings: ${formatCount(perSecond)}/s`);
      }
    }
    for (const { service } of services) {
      const { quarantined } = (await service.status()).counts.telemetry;
      if (quarantined > 0) throw new Error(`${quarantined} values found no mapping.`);
    }
    return runs;
  } finally {
    for (const { service } of services) await service.remove();
  }
}

/** An entry for each point that comes by; the topics have nothing of the names of the points. */
function mappingOf(count: number): { pointId: string; topic: string }[] {
  return Array.from({ length: count }, (_unused, index) => ({
    pointId: pointId(index),
    topic: `bench/line-${String(index % 10).padStart(2, '0')}/${String(index).padStart(5, '0')}`,
  }));
}

function resultOf(runs: readonly Run[]): BenchResult {
  const perSecond = (count: number): number[] =>
    runs.filter((run) => run.mappingsCount === count).map((run) => run.perSecond);
  const [base, ...others] = MAPPING_COUNTS;
  const shareOf = (count: number): number => median(perSecond(count)) / median(perSecond(base));
  return {
    paragraphs: [
      'Time-values at QoS 1, in requests of 1000, whose points all have an entry in the mapping of the transformer and come by in turn. From the first request to the last acknowledgement.',
    ],
    tables: [
      {
        caption: 'Entries in the mapping',
        columns: ['entries', 'messages per second, median (least to most)', `of that with ${base}`],
        rows: MAPPING_COUNTS.map((count) => [
          formatCount(count),
          formatSpread(perSecond(count)),
          shareOf(count).toFixed(2),
        ]),
      },
    ],
    plots: [],
    verdicts: others.map((count) => ({
      target: `${formatCount(count)} mappings: no more than 10 % slower than ${base}`,
      measured: `${shareOf(count).toFixed(2)} of the rate with ${base}`,
      isMet: shareOf(count) >= TARGET_SHARE,
    })),
    raw: runs,
  };
}

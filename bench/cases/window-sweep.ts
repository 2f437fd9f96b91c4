/** The window that finds its size by itself, against sizes that were given to it. */
import type { BrokerLimit } from '../broker.js';
import { type BrokerLine, growthTimeMs, LIMIT_NAMES, ROUND_TRIPS_MS, withBrokerLines } from '../broker-lines.js';
import type { BenchCase, BenchContext, BenchPlot, BenchResult, BenchTable, BenchVerdict } from '../case.js';
import { type Contender, runContest, type Standing } from '../contest.js';
import { formatCount, formatFigure, formatSpread, median } from '../statistics.js';

/** Beyond its limit, the broker announces the limit itself. */
const WINDOWS: Readonly<Record<BrokerLimit, readonly number[]>> = {
  default: [1, 2, 5, 10, 20],
  none: [1, 5, 20, 50, 200, 1000, 5000, 20_000],
};
const START_WINDOW = 20;
const PAYLOAD_SIZE_BYTES = 100;
const DURATION_MS = 3000;
const SETTLING_MS = 1500;
/** It has many points, and a point off its line is seen. */
const RUNS_MAX = 3;

type Kind = 'adaptive' | 'given' | 'bare';

interface Entry {
  kind: Kind;
  window: number;
  line: BrokerLine;
}

export interface SweepResult extends Pick<Entry, 'kind' | 'window'> {
  line: Pick<BrokerLine, 'limit' | 'roundTripMs'>;
  standing: Pick<Standing, 'perSecond' | 'foundWindows'>;
}

function entriesOf(line: BrokerLine): Entry[] {
  const windows = WINDOWS[line.limit];
  return [
    { kind: 'adaptive', window: 0, line },
    ...windows.map((window): Entry => ({ kind: 'given', window, line })),
    ...(line.limit === 'none' ? windows.map((window): Entry => ({ kind: 'bare', window, line })) : []),
  ];
}

function contenderOf({ kind, window, line }: Entry, scale: number): Contender {
  const grows = kind !== 'bare' && line.limit === 'none' && (window === 0 || window > START_WINDOW);
  const warmupMs = (grows ? growthTimeMs(line.roundTripMs) : SETTLING_MS) * scale;
  const name = kind === 'adaptive' ? 'its own window' : `${kind === 'bare' ? 'bare loop, ' : ''}window ${window}`;
  return {
    name: `${name}, ${line.roundTripMs} ms, limit ${LIMIT_NAMES[line.limit]}`,
    script: kind === 'bare' ? 'bare-loop' : 'product',
    task: {
      ...line.address,
      qos: 1,
      window,
      payloadSizeBytes: PAYLOAD_SIZE_BYTES,
      extent: { warmupMs, durationMs: Math.max(500, DURATION_MS * scale) },
    },
  };
}

async function run(context: BenchContext): Promise<BenchResult> {
  const runsCount = Math.min(context.runsCount, RUNS_MAX);
  return withBrokerLines(['none', 'default'], async (lines) => {
    const entries = lines.flatMap(entriesOf);
    const contenders = entries.map((entry) => contenderOf(entry, context.scale));
    const standings = await runContest(contenders, { ...context, runsCount });
    const results = entries.map((entry, index) => ({ ...entry, standing: standings[index]! }));
    return {
      paragraphs: [
        `Medians of ${runsCount}, after the window has grown, at QoS 1. Nobody needs to set a window: it finds its size by itself. Here that is compared with sizes that were given by \`inflightMax\`, which starts at 20 and stays at or below what is given. The bare loop, which has always exactly so many in flight, shows what the line and the broker give at that size.`,
      ],
      tables: (['none', 'default'] as const).map((limit) => tableOf(results, limit)),
      plots: (['none', 'default'] as const).map((limit) => plotOf(results, limit)),
      verdicts: verdictsOf(results),
      raw: results.map(({ kind, window, line: { limit, roundTripMs }, standing }) => ({
        limit,
        roundTripMs,
        kind,
        ...standing,
        window,
      })),
    };
  });
}

function findIn(
  results: readonly SweepResult[],
  limit: BrokerLimit,
  roundTripMs: number,
  kind: Kind,
): readonly SweepResult[] {
  return results.filter(
    (each) => each.line.limit === limit && each.line.roundTripMs === roundTripMs && each.kind === kind,
  );
}

function tableOf(results: readonly SweepResult[], limit: BrokerLimit): BenchTable {
  const cells = (kind: Kind, window: number): string[] =>
    ROUND_TRIPS_MS.map((roundTripMs) => {
      const result = findIn(results, limit, roundTripMs, kind).find((each) => each.window === window);
      return result === undefined ? '' : formatSpread(result.standing.perSecond, formatFigure);
    });
  const found = ROUND_TRIPS_MS.map((roundTripMs) => {
    const [adaptive] = findIn(results, limit, roundTripMs, 'adaptive');
    return formatCount(median(adaptive?.standing.foundWindows ?? []));
  });
  return {
    caption: `Messages per second; the broker's limit: ${LIMIT_NAMES[limit]}.`,
    columns: ['window', ...ROUND_TRIPS_MS.map((roundTripMs) => `${roundTripMs} ms`)],
    rows: [
      ['finds its size by itself', ...cells('adaptive', 0)],
      ['the size that it had found', ...found],
      ...WINDOWS[limit].map((window) => [`at most ${formatCount(window)}`, ...cells('given', window)]),
      ...(limit === 'none'
        ? WINDOWS[limit].map((window) => [`bare loop, ${formatCount(window)}`, ...cells('bare', window)])
        : []),
    ],
  };
}

function plotOf(results: readonly SweepResult[], limit: BrokerLimit): BenchPlot {
  const lineOf = (kind: Kind, label: string) =>
    ROUND_TRIPS_MS.map((roundTripMs) => ({
      label: `${roundTripMs} ms, ${label}`,
      points: findIn(results, limit, roundTripMs, kind).map(({ window, standing }): [number, number] => [
        kind === 'adaptive' ? median(standing.foundWindows) : window,
        median(standing.perSecond),
      ]),
    }));
  return {
    file: `window-sweep-${limit}.svg`,
    title: `Window and rate, broker's limit: ${LIMIT_NAMES[limit]}`,
    xLabel: 'window (messages in flight)',
    yLabel: 'messages per second',
    xScale: 'log',
    yScale: 'log',
    series: [
      ...lineOf('given', 'given'),
      ...lineOf('adaptive', 'found by itself'),
      ...(limit === 'none' ? lineOf('bare', 'bare loop') : []),
    ],
  };
}

export function verdictsOf(results: readonly SweepResult[]): BenchVerdict[] {
  return (['none', 'default'] as const).flatMap((limit) =>
    ROUND_TRIPS_MS.map((roundTripMs): BenchVerdict => {
      const rateOf = ({ standing }: SweepResult): number => median(standing.perSecond);
      const [adaptive] = findIn(results, limit, roundTripMs, 'adaptive').map(rateOf);
      const given = findIn(results, limit, roundTripMs, 'given').toSorted((one, other) => rateOf(other) - rateOf(one));
      const best = given[0];
      const ratio = (adaptive ?? Number.NaN) / (best === undefined ? Number.NaN : rateOf(best));
      return {
        target: `${roundTripMs} ms, limit ${LIMIT_NAMES[limit]}: at least 0.9 × the best window that was given`,
        measured: `${formatFigure(ratio)} × (the best one was ${formatCount(best?.window ?? Number.NaN)})`,
        isMet: ratio >= 0.9,
      };
    }),
  );
}

export const windowSweep: BenchCase = {
  name: 'window-sweep',
  title: 'The window that finds its size by itself',
  run,
};

/** QoS 1 over a line that takes its time, against one message at a time. */

import { DEFAULT_LIMIT_COUNT } from '../broker.js';
import { type BrokerLine, growthTimeMs, LIMIT_NAMES, withBrokerLines } from '../broker-lines.js';
import type { BenchCase, BenchContext, BenchResult, BenchVerdict } from '../case.js';
import { type Contender, type ContenderScript, runContest, type Standing } from '../contest.js';
import { formatCount, formatFigure, formatShare, formatSpread, median } from '../statistics.js';

interface Candidate {
  name: string;
  script: ContenderScript;
  windowOf(line: BrokerLine): number;
  warmupMsOf(line: BrokerLine): number;
}

const PAYLOAD_SIZE_BYTES = 100;
const DURATION_MS = 5000;
const SETTLING_MS = 1500;
const LARGE_WINDOW = 20_000;
/** Two places of a window stay free for commands and alerts, so that these never wait for telemetry's round trip. */
const FREE_COUNT = 2;

const CANDIDATES: readonly Candidate[] = [
  {
    name: 'MQTT North Connector',
    script: 'product',
    windowOf: () => 0,
    warmupMsOf: ({ roundTripMs }) => growthTimeMs(roundTripMs),
  },
  {
    name: 'bare loop',
    script: 'bare-loop',
    windowOf: ({ limit }) => (limit === 'default' ? DEFAULT_LIMIT_COUNT : LARGE_WINDOW),
    warmupMsOf: () => SETTLING_MS,
  },
  { name: 'MQTT.js, one at a time', script: 'mqttjs', windowOf: () => 1, warmupMsOf: () => SETTLING_MS },
];

interface Entry {
  line: BrokerLine;
  script: ContenderScript;
  contender: Contender;
}

function entryOf(line: BrokerLine, { name, script, windowOf, warmupMsOf }: Candidate, scale: number): Entry {
  const window = windowOf(line);
  const extent = { warmupMs: warmupMsOf(line) * scale, durationMs: Math.max(500, DURATION_MS * scale) };
  return {
    line,
    script,
    contender: {
      name: `${name}, ${line.roundTripMs} ms, limit ${LIMIT_NAMES[line.limit]}`,
      script,
      task: { ...line.address, qos: 1, window, payloadSizeBytes: PAYLOAD_SIZE_BYTES, extent },
    },
  };
}

async function run(context: BenchContext): Promise<BenchResult> {
  return withBrokerLines(['none', 'default'], async (lines) => {
    const entries = lines.flatMap((line) => CANDIDATES.map((candidate) => entryOf(line, candidate, context.scale)));
    const standings = await runContest(
      entries.map(({ contender }) => contender),
      context,
    );
    const results = entries.map(({ line, script }, index) => ({ line, script, standing: standings[index]! }));
    return {
      paragraphs: [
        'A proxy, in a process of its own, delays each direction by half of the round trip. It takes a part of the machine, therefore 0 ms is measured through it, too. The broker has `set_tcp_nodelay true`, because otherwise TCP would hold back its acknowledgements for the delayed confirmations of the proxy. The rate is that of some seconds after the window has grown. The bare loop has 20 messages in flight where the broker has its default limit, and 20,000 where it has none.',
      ],
      tables: [
        {
          caption: 'Messages per second at QoS 1; CPU as a share of one core.',
          columns: [
            "broker's limit",
            'round trip',
            'contender',
            'messages per second',
            'window found',
            "broker's CPU",
            'own CPU',
          ],
          rows: results.map(({ line, script, standing }) => [
            LIMIT_NAMES[line.limit],
            `${line.roundTripMs} ms`,
            CANDIDATES.find((candidate) => candidate.script === script)?.name ?? '',
            formatSpread(standing.perSecond, formatFigure),
            standing.foundWindows.length === 0 ? '' : formatCount(median(standing.foundWindows)),
            formatShare(median(standing.brokerCpuShares)),
            formatShare(median(standing.ownCpuShares)),
          ]),
        },
      ],
      plots: [],
      verdicts: verdictsOf(results),
      raw: results.map(({ line: { limit, roundTripMs }, standing }) => ({ limit, roundTripMs, ...standing })),
    };
  });
}

export interface RoundTripResult {
  line: Pick<BrokerLine, 'limit' | 'roundTripMs'>;
  script: ContenderScript;
  standing: Pick<Standing, 'perSecond'>;
}

export function verdictsOf(results: readonly RoundTripResult[]): BenchVerdict[] {
  const rateOf = (limit: BrokerLine['limit'], roundTripMs: number, script: ContenderScript): number =>
    median(
      results.find(
        (each) => each.line.limit === limit && each.line.roundTripMs === roundTripMs && each.script === script,
      )?.standing.perSecond ?? [],
    );
  const loopback = rateOf('none', 0, 'product');
  return [20, 100].flatMap((roundTripMs): BenchVerdict[] => {
    const free = rateOf('none', roundTripMs, 'product');
    const single = rateOf('none', roundTripMs, 'mqttjs');
    const limited = rateOf('default', roundTripMs, 'product');
    // One at a time is one per round trip, as it was and not as it was asked for.
    const possible = (DEFAULT_LIMIT_COUNT - FREE_COUNT) * rateOf('default', roundTripMs, 'mqttjs');
    return [
      {
        target: `${roundTripMs} ms: within 10 % of 0 ms where the broker has no limit`,
        measured: `${formatFigure(free / loopback)} × (${formatCount(free)}/s to ${formatCount(loopback)}/s)`,
        isMet: free >= 0.9 * loopback,
      },
      {
        target: `${roundTripMs} ms: at least 1,000 × one at a time where the broker has no limit`,
        measured: `${formatCount(free / single)} × (${formatFigure(single)}/s one at a time)`,
        isMet: free >= 1000 * single,
      },
      {
        target: `${roundTripMs} ms: with the limit of 20, window by round trip (18, because 2 stay free for alerts), within 10 %`,
        measured: `${formatFigure(limited / possible)} × (${formatFigure(limited)}/s of ${formatFigure(possible)}/s)`,
        isMet: limited >= 0.9 * possible,
      },
    ];
  });
}

export const roundTrip: BenchCase = { name: 'round-trip', title: 'QoS 1 over long lines', run };

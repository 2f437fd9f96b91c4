/** The three deliveries on loopback, against a bare socket loop and against what else there is. */
import { startBroker } from '../broker.js';
import type { BenchCase, BenchContext, BenchResult, BenchTable, BenchVerdict } from '../case.js';
import {
  bestOf,
  type Contender,
  type ContenderScript,
  isAvailable,
  medianOf,
  runContest,
  type Standing,
} from '../contest.js';
import { formatCount, formatFigure, formatShare, formatSpread, median } from '../statistics.js';

type Qos = 0 | 1 | 2;

interface Candidate {
  name: string;
  script: ContenderScript;
  window: number;
  /** Messages of a run at QoS 0, 1 and 2, which take some seconds; 0 where it does not take part. */
  counts: readonly [number, number, number];
}

const PRODUCT = 'MQTT North Connector';
const ONE_AT_A_TIME = 'MQTT.js, one at a time';
const PAYLOAD_SIZE_BYTES = 100;
const WARMUP_SHARE = 0.25;
/** The product takes values in requests of so many. */
const COUNT_STEP = 1000;

/** QoS 0 knows no window; how many calls are under way at once matters to a library all the same. */
const CANDIDATES: readonly Candidate[] = [
  { name: PRODUCT, script: 'product', window: 0, counts: [500_000, 300_000, 150_000] },
  { name: 'bare loop', script: 'bare-loop', window: 0, counts: [600_000, 0, 0] },
  { name: 'bare loop, window 20', script: 'bare-loop', window: 20, counts: [0, 500_000, 200_000] },
  { name: 'bare loop, window 50', script: 'bare-loop', window: 50, counts: [0, 500_000, 200_000] },
  { name: 'bare loop, window 1000', script: 'bare-loop', window: 1000, counts: [0, 500_000, 200_000] },
  { name: 'MQTT.js, window 20', script: 'mqttjs', window: 20, counts: [400_000, 150_000, 80_000] },
  { name: 'MQTT.js, window 100', script: 'mqttjs', window: 100, counts: [400_000, 150_000, 80_000] },
  { name: 'MQTT.js, window 1000', script: 'mqttjs', window: 1000, counts: [400_000, 150_000, 80_000] },
  { name: ONE_AT_A_TIME, script: 'mqttjs', window: 1, counts: [300_000, 50_000, 25_000] },
  { name: 'mosquitto_pub -l', script: 'mosquitto-pub', window: 20, counts: [400_000, 60_000, 60_000] },
  { name: 'mosquitto_pub -l -M 1000', script: 'mosquitto-pub', window: 1000, counts: [0, 60_000, 60_000] },
  { name: 'Node-RED, mqtt out, window 100', script: 'node-red', window: 100, counts: [100_000, 80_000, 50_000] },
];

function candidatesOf(qos: Qos): readonly Candidate[] {
  return CANDIDATES.filter(({ script, counts }) => counts[qos] > 0 && isAvailable(script));
}

function countOf(count: number, scale: number): number {
  return Math.max(1, Math.round((count * scale) / COUNT_STEP)) * COUNT_STEP;
}

async function runQos(qos: Qos, context: BenchContext): Promise<BenchResult> {
  // With its usual limit of 20 the broker would close the connection of whoever has more in flight at QoS 2.
  const broker = await startBroker('none');
  try {
    const contenders = candidatesOf(qos).map(({ name, script, window, counts }): Contender => {
      const count = countOf(counts[qos], context.scale);
      const extent = { warmupCount: countOf(count * WARMUP_SHARE, 1), count };
      const { port, pid: brokerPid } = broker;
      return { name, script, task: { port, brokerPid, qos, window, payloadSizeBytes: PAYLOAD_SIZE_BYTES, extent } };
    });
    const standings = await runContest(contenders, context);
    return {
      paragraphs: PARAGRAPHS[qos],
      tables: [tableOf(standings)],
      plots: [],
      verdicts: verdictsOf(qos, standings),
      raw: standings,
    };
  } finally {
    await broker.stop();
  }
}

export function tableOf(standings: readonly Standing[]): BenchTable {
  const product = medianOf(standings, PRODUCT);
  return {
    caption:
      'Messages per second, as the median with the least and the most; CPU as a share of one core, as the median.',
    columns: ['contender', 'messages per second', "broker's CPU", 'own CPU', `${PRODUCT} is so many times as fast`],
    rows: standings.map(({ name, perSecond, brokerCpuShares, ownCpuShares }) => [
      name,
      formatSpread(perSecond),
      formatShare(median(brokerCpuShares)),
      formatShare(median(ownCpuShares)),
      name === PRODUCT ? '' : formatFigure(product / median(perSecond)),
    ]),
  };
}

export function verdictsOf(qos: Qos, standings: readonly Standing[]): BenchVerdict[] {
  const product = medianOf(standings, PRODUCT);
  const times = (target: number, of: string, than: Standing | undefined): BenchVerdict => {
    const ratio = product / median(than?.perSecond ?? []);
    return {
      target: `at least ${target} × ${of}`,
      measured: `${formatFigure(ratio)} × (${formatCount(product)}/s to ${formatCount(median(than?.perSecond ?? []))}/s of ${than?.name})`,
      isMet: ratio >= target,
    };
  };
  const bare = bestOf(standings, 'bare-loop');
  if (qos === 0) {
    const ratio = product / median(bare?.perSecond ?? []);
    return [
      {
        target: 'at least 200,000/s at the socket of the subscriber, or 0.8 × the bare loop',
        measured: `${formatCount(product)}/s, ${formatFigure(ratio)} × the bare loop`,
        isMet: product >= 200_000 || ratio >= 0.8,
      },
    ];
  }
  const mqttjs = bestOf(standings, 'mqttjs');
  const verdicts = [times(0.6, 'the bare loop at its best window', bare)];
  if (qos === 2) return [...verdicts, times(2, 'MQTT.js at its best window', mqttjs)];
  const single = standings.find(({ name }) => name === ONE_AT_A_TIME);
  return [...verdicts, times(3, 'MQTT.js at its best window', mqttjs), times(10, 'MQTT.js one at a time', single)];
}

const ACKNOWLEDGED =
  'From the first message handed in to the last one acknowledged by the broker, which has no limit of its own for what is in flight. Nobody subscribes.';

const PARAGRAPHS: Readonly<Record<Qos, readonly string[]>> = {
  0: [
    'No acknowledgement tells of these messages, and what a publisher has written may still be in buffers. Therefore the time runs until the last one has arrived at the socket of a subscriber, a process that counts packets and does nothing else; the broker and the subscriber take their part of the two cores.',
  ],
  1: [ACKNOWLEDGED],
  2: [ACKNOWLEDGED],
};

export const qos0: BenchCase = {
  name: 'qos0',
  title: 'QoS 0, at the socket of a subscriber',
  run: (context) => runQos(0, context),
};

export const qos1: BenchCase = {
  name: 'qos1',
  title: 'QoS 1, at least once',
  run: (context) => runQos(1, context),
};

export const qos2: BenchCase = {
  name: 'qos2',
  title: 'QoS 2, exactly once',
  run: (context) => runQos(2, context),
};

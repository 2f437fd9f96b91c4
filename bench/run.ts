/**
 * The benchmark: all contenders against the same broker, interleaved, each run in a process of its own. A figure is the
 * median of the runs; what counts are the ratios within one run, because machines are shared and noisy.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startMosquitto } from '../test/kit/mosquitto.js';
import type { Result, Task } from './task.js';

const execute = promisify(execFile);
const PAYLOAD_SIZE_BYTES = 100;
const RUN_TIMEOUT_MS = 120_000;

interface Contender {
  name: string;
  script: string;
  window: number;
  /** Messages per run and QoS; fewer where each one takes a round trip. */
  counts: readonly [number, number, number];
}

const CONTENDERS: readonly Contender[] = [
  { name: 'bare socket loop, window 50', script: 'bare-loop.js', window: 50, counts: [400_000, 300_000, 150_000] },
  { name: 'bare socket loop, window 20', script: 'bare-loop.js', window: 20, counts: [400_000, 200_000, 100_000] },
  { name: 'MQTT North Connector', script: 'product.js', window: 0, counts: [200_000, 200_000, 100_000] },
  { name: 'MQTT.js, window 20', script: 'mqttjs.js', window: 20, counts: [100_000, 100_000, 50_000] },
  { name: 'MQTT.js, window 1000', script: 'mqttjs.js', window: 1000, counts: [100_000, 100_000, 50_000] },
  { name: 'MQTT.js, one at a time', script: 'mqttjs.js', window: 1, counts: [50_000, 20_000, 10_000] },
];

interface Row {
  qos: 0 | 1 | 2;
  contender: string;
  perSecond: number[];
}

const runsCount = Number(process.env.BENCH_RUNS ?? 3);
const scale = Number(process.env.BENCH_SCALE ?? 1);
const wanted = process.argv.slice(2).map((word) => Number(word.replace('qos', '')));
const levels = ([0, 1, 2] as const).filter((qos) => wanted.length === 0 || wanted.includes(qos));

const rows: Row[] = [];
// Without a limit of its own, the broker takes what MQTT.js offers; with the usual 20 it would close at QoS 2.
const broker = await startMosquitto({ extra: ['max_inflight_messages 0', 'max_queued_messages 0'] });
try {
  for (const qos of levels) {
    for (let run = 0; run < runsCount; run++) {
      for (const contender of CONTENDERS) {
        const task: Task = {
          port: broker.port,
          qos,
          count: Math.ceil((contender.counts[qos] * scale) / 1000) * 1000,
          window: contender.window,
          payloadSizeBytes: PAYLOAD_SIZE_BYTES,
        };
        const result = await runOne(contender, task);
        const perSecond = (result.count * 1000) / result.elapsedMs;
        rowOf(qos, contender.name).perSecond.push(perSecond);
        process.stderr.write(`QoS ${qos}, run ${run + 1}, ${contender.name}: ${format(perSecond)}/s\n`);
      }
    }
  }
} finally {
  await broker.stop();
}

const text = levels.map(tableOf).join('\n');
process.stdout.write(`${text}\n`);
if (levels.length === 3 && scale === 1) writeDocument(text);

async function runOne(contender: Contender, task: Task): Promise<Result> {
  const script = join(import.meta.dirname, contender.script);
  const { stdout } = await execute(process.execPath, [script, JSON.stringify(task)], { timeout: RUN_TIMEOUT_MS });
  return JSON.parse(stdout) as Result;
}

function rowOf(qos: 0 | 1 | 2, contender: string): Row {
  let row = rows.find((one) => one.qos === qos && one.contender === contender);
  if (row === undefined) {
    row = { qos, contender, perSecond: [] };
    rows.push(row);
  }
  return row;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function tableOf(qos: 0 | 1 | 2): string {
  const ofLevel = rows.filter((row) => row.qos === qos);
  const medianOf = (name: string): number => median(ofLevel.find((row) => row.contender === name)?.perSecond ?? []);
  const ours = medianOf('MQTT North Connector');
  const lines = ofLevel.map(({ contender, perSecond }) => {
    const spread = `${format(Math.min(...perSecond))} to ${format(Math.max(...perSecond))}`;
    const ratio = contender === 'MQTT North Connector' ? '' : (ours / median(perSecond)).toFixed(2);
    return `| ${contender} | ${format(median(perSecond))} | ${spread} | ${ratio} |`;
  });
  return [
    `### QoS ${qos}`,
    '',
    '| contender | messages per second, median | least to most | MQTT North Connector is so many times as fast |',
    '|---|---|---|---|',
    ...lines,
    '',
  ].join('\n');
}

function format(value: number): string {
  return Math.round(value).toLocaleString('en');
}

function writeDocument(tables: string): void {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Node.js ${process.version}`;
  mkdirSync('docs', { recursive: true });
  writeFileSync(
    'docs/benchmarks.md',
    `# Benchmarks

Made by \`npm run bench\`. All contenders publish to the same mosquitto on loopback, interleaved, each run in a process of its own; payloads of about ${PAYLOAD_SIZE_BYTES} bytes; medians of ${runsCount} runs. Machine: ${machine}, shared with the broker. What counts are the ratios.

- **MQTT North Connector**: the service as users run it. Time-values come by HTTP in requests of 1000; each is on stable storage before it is answered; the time runs from the first request to the broker's last acknowledgement.
- **bare socket loop**: the limit. It writes prepared packets from memory and counts acknowledgements, without storage, checks or re-sending.
- **MQTT.js**: publishes from memory, without storage, with so many publishes under way at once. One at a time is how many gateways use it.

${tables}
`,
  );
  writeFileSync('docs/benchmarks.json', `${JSON.stringify({ machine, runsCount, rows }, null, 2)}\n`);
}

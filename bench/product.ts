/**
 * The product as its users run it: a service in a process of its own, time-values by HTTP in requests of 1000, counted
 * from the first request to the broker's last acknowledgement. Every request is synced before it is answered.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readTask, report } from './task.js';

const task = readTask();
const REQUEST_VALUES = 1000;
const REQUESTS_AT_ONCE = 4;
const POLL_MS = 10;

const folder = mkdtempSync(join(tmpdir(), 'mqtt-north-bench-'));
const file = join(folder, 'mqtt-north.json');
writeFileSync(
  file,
  JSON.stringify({
    dataDir: join(folder, 'data'),
    server: { port: 0 },
    connectors: [
      {
        id: 'bench',
        settings: { url: `mqtt://127.0.0.1:${task.port}`, qos: task.qos, reconnectPeriod: 200 },
        transformers: [{ type: 'time-values-to-mqtt', topic: 'bench/{pointId}' }],
      },
    ],
    logging: { level: 'info', format: 'json' },
  }),
);

const service = spawn(process.execPath, [join(import.meta.dirname, '../src/cli/main.js'), 'run', '-c', file], {
  stdio: ['ignore', 'ignore', 'pipe'],
});
// A run that takes too long is ended from outside; its service must not outlive it.
process.once('SIGTERM', () => {
  service.kill('SIGKILL');
  process.exit(1);
});
const url = await new Promise<string>((resolve, reject) => {
  let text = '';
  service.stderr.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const found = /"url":"(http[^"]+)"/.exec(text);
    if (found?.[1] !== undefined) resolve(found[1]);
  });
  service.once('exit', () => reject(new Error(`The service ended:\n${text}`)));
});
const agent = new Agent({ keepAlive: true, maxSockets: REQUESTS_AT_ONCE });

function call(method: 'GET' | 'POST', path: string, body?: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length };
    const sent = request(url + path, { method, agent, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => {
        if (answer.statusCode !== undefined && answer.statusCode < 300) resolve(text);
        else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

interface Status {
  state: string;
  counts: { telemetry: { published: number } };
}

async function status(): Promise<Status> {
  return (JSON.parse(await call('GET', '/api/connectors/bench')) as { status: Status }).status;
}

while ((await status()).state !== 'online') await new Promise((resolve) => setTimeout(resolve, POLL_MS));

// About as long as what the other contenders publish: the payload of one value is some 100 bytes.
const padding = 'a'.repeat(Math.max(0, task.payloadSizeBytes - 62));
const bodies = Array.from({ length: 10 }, (_unused, index) => {
  const values = Array.from({ length: REQUEST_VALUES }, (_none, at) => ({
    pointId: `point-${(index * REQUEST_VALUES + at) % 500}`,
    timestamp: '2026-01-15T10:00:00.000Z',
    data: { value: at / 7, unit: padding },
  }));
  return Buffer.from(JSON.stringify(values));
});
const requestsCount = Math.ceil(task.count / REQUEST_VALUES);
const startMs = performance.now();
let next = 0;
await Promise.all(
  Array.from({ length: REQUESTS_AT_ONCE }, async () => {
    while (next < requestsCount) {
      await call('POST', '/api/content?connector=bench&type=time-values', bodies[next++ % bodies.length]);
    }
  }),
);
const count = requestsCount * REQUEST_VALUES;
while ((await status()).counts.telemetry.published < count)
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
report({ count, elapsedMs: performance.now() - startMs });

agent.destroy();
service.kill('SIGTERM');
await new Promise((resolve) => service.once('exit', resolve));
rmSync(folder, { recursive: true, force: true });

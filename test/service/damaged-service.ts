/**
 * A service with waiting messages that is killed, and what becomes of them after its files were damaged: each value was
 * handed in under the offset of the same number, so that what was delivered and what is set aside can be counted.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { type Mosquitto, startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { type ProcessEnd, runCli, startCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { type ServiceProcess, serviceFolder, timeValues, valuesOf } from './service-process.js';

const PATH = '/api/content?type=time-values&connector=';
const PER_REQUEST = 25;

export interface DamagedService {
  /** The folder of the first connector. */
  readonly cacheFolder: string;
  readonly dataDir: string;
  /** The values that were accepted by each connector. */
  readonly count: number;
  /** Where a file of the first connector's cache is. */
  path(name: 'cache.db' | 'cache.db-wal' | 'cache.db-shm'): string;
  /** Starts the service, and the broker when it does not run. */
  restart(): Promise<RestartedService>;
  /** Starts the service and kills it when it has removed this file of the first connector's cache. */
  killedAtRemovalOf(name: string): Promise<ProcessEnd>;
}

export interface RestartedService {
  readonly service: ServiceProcess;
  /** The values that have arrived from a connector, in the order of their arrival. */
  arrived(id?: string): number[];
  /** Waits until nothing waits any more and everything that was sent has arrived. */
  drained(id?: string): Promise<void>;
  /** What the API says of the damage. */
  findings(id?: string): Promise<string[]>;
  /** Offsets that are set aside as unreadable. */
  setAside(id?: string): Promise<Set<number>>;
  /** Hands in one more value; its status, and the code of its error. */
  post(value: number, id?: string): Promise<{ status: number; code: string | undefined }>;
}

export interface DamagedServiceOptions {
  /** Values that are in the database itself, because the service was stopped in order behind them. */
  carriedOver: number;
  /** Values that are in the log when it is killed. */
  inLog: number;
  connectors?: readonly string[];
}

/** Everything is handed in while there is no broker, and the service is killed. */
export async function killedService(t: TestContext, options: DamagedServiceOptions): Promise<DamagedService> {
  const { carriedOver, inLog, connectors = ['plant'] } = options;
  const port = await freePort();
  const folder = serviceFolder({
    connectors: connectors.map((id) => ({
      id,
      settings: { url: `mqtt://127.0.0.1:${port}`, qos: 2, reconnectPeriod: 200 },
      transformers: [{ type: 'time-values-to-mqtt', topic: `${id}/values` }],
    })),
  });
  const handIn = async (service: ServiceProcess, from: number, to: number): Promise<void> => {
    for (const id of connectors) {
      for (let at = from; at < to; at += PER_REQUEST) {
        const answer = await service.post(PATH + id, timeValues(at, Math.min(PER_REQUEST, to - at)));
        assert.equal(answer.status, 202, await answer.text());
      }
    }
  };
  if (carriedOver > 0) {
    const first = await folder.start();
    t.after(() => first.kill());
    await handIn(first, 0, carriedOver);
    await first.stop();
  }
  if (inLog > 0) {
    const second = await folder.start();
    t.after(() => second.kill());
    await handIn(second, carriedOver, carriedOver + inLog);
    await second.kill();
  }
  let broker: Mosquitto | undefined;

  const dataDir = join(folder.folder, 'data');
  const cacheFolder = join(dataDir, 'connectors', connectors[0]!);
  return {
    cacheFolder,
    dataDir,
    count: carriedOver + inLog,
    path: (name) => join(cacheFolder, name),
    killedAtRemovalOf: async (name) => {
      const path = join(folder.folder, 'kill-at-removal.cjs');
      writeFileSync(path, killAtRemoval(join(cacheFolder, name)));
      const { configFile, folder: cwd } = folder;
      const env = { XDG_CONFIG_HOME: join(cwd, 'config'), NODE_OPTIONS: `--require ${path}` };
      const started = startCli(['run', '-c', configFile], { cwd, env });
      t.after(() => started.kill('SIGKILL'));
      return started.ended;
    },
    restart: async () => {
      if (broker === undefined) {
        const started = await startMosquitto({ port, extra: ['max_queued_messages 0'] });
        t.after(() => started.kill());
        broker = started;
      }
      const subscriber = await openSubscriber({ url: broker.url });
      t.after(() => subscriber.close());
      const service = await folder.start();
      t.after(() => service.kill());
      const statusOf = async (id: string) =>
        ((await service.get(`/api/connectors/${id}`)) as { status: { cache: { findings: { message: string }[] } } })
          .status;
      const arrived = (id = connectors[0]!): number[] => valuesOf(subscriber.texts(`${id}/values`));
      const findings = async (id = connectors[0]!): Promise<string[]> =>
        (await statusOf(id)).cache.findings.map(({ message }) => message);
      return {
        service,
        arrived,
        findings,
        drained: async (id = connectors[0]!) => {
          const { counts } = await service.until(
            id,
            ({ state, cache }) => state === 'online' && cache.waitingCounts.telemetry === 0,
            `${id} to have sent everything`,
            60_000,
          );
          await eventually(
            () => arrived(id).length >= counts.telemetry.published,
            () => `${counts.telemetry.published} values of ${id} at the subscriber, which has ${arrived(id).length}`,
          );
        },
        setAside: async (id = connectors[0]!) => {
          const page = (await service.get(`/api/connectors/${id}/cache?state=quarantined&limit=500`)) as {
            messages: { code: string; offset?: number; count?: number; reason: string }[];
          };
          const offsets = page.messages
            .filter(({ code }) => code === 'MESSAGE_UNREADABLE')
            .flatMap(({ offset = 0, count = 1 }) => Array.from({ length: count }, (_unused, index) => offset + index));
          for (const { reason } of page.messages) assert.match(reason, /offsets? \d+/);
          return new Set(offsets);
        },
        post: async (value, id = connectors[0]!) => {
          const answer = await service.post(PATH + id, timeValues(value, 1));
          const { code } = (await answer.json()) as { code?: string };
          return { status: answer.status, code };
        },
      };
    },
  };
}

/** A program that is loaded before another one, which it kills at that moment. */
function killAtRemoval(path: string): string {
  return `
    const fs = require('node:fs');
    const { rmSync } = fs;
    fs.rmSync = (path, options) => {
      rmSync(path, options);
      if (path === ${JSON.stringify(path)}) process.kill(process.pid, 'SIGKILL');
    };
    require('node:module').syncBuiltinESMExports();
  `;
}

export function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes[at]! ^ 0x20, at);
  writeFileSync(path, bytes);
}

/**
 * What has to be so after every damage: each value has arrived once or is set aside with its offset; they came in order;
 * the damage is in the log, in the API and in `mqtt-north cache`; every file that is spoken of as kept is there; the
 * producer gets a receipt, and the service stops in order.
 *
 * @param below values at or above it may be lost, because the end of the log is.
 */
export async function assertAccounted(
  damaged: DamagedService,
  restarted: RestartedService,
  below: number = damaged.count,
): Promise<{ arrived: number[]; findings: string[] }> {
  const { service } = restarted;
  await restarted.drained();
  const setAside = await restarted.setAside();
  const arrived = restarted.arrived();
  const findings = await restarted.findings();
  const context = `${arrived.length} arrived, ${setAside.size} set aside: ${findings.join(' | ')}`;
  assert.ok(
    arrived.every((value, index) => index === 0 || value > arrived[index - 1]!),
    `each once, in order: ${context}`,
  );
  const known = new Set([...arrived, ...setAside]);
  const missing = Array.from({ length: below }, (_unused, value) => value).filter((value) => !known.has(value));
  assert.deepEqual(missing, [], `neither delivered nor reported: ${context}`);

  assert.ok(findings.length > 0, 'the API tells the damage');
  const log = service.process.output;
  for (const finding of findings) {
    assert.ok(log.includes(JSON.stringify(finding)), `the log has "${finding}"`);
    for (const [name] of finding.matchAll(/cache\.db\.damaged-\d+(-wal)?/g)) {
      assert.ok(existsSync(join(damaged.cacheFolder, name)), `${name} is there`);
    }
  }
  const { stdout } = await runCli(['cache', 'list', '-c', join(damaged.dataDir, '..', 'mqtt-north.yaml'), '--json']);
  const listed = JSON.parse(stdout) as { findings: { message: string }[] };
  assert.deepEqual(
    listed.findings.map(({ message }) => message),
    findings,
  );

  assert.deepEqual(await restarted.post(1_000_000), { status: 202, code: undefined });
  await eventually(() => restarted.arrived().at(-1) === 1_000_000, 'the new value to arrive');
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  return { arrived, findings };
}

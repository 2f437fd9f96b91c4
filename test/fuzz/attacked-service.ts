/** A whole service in this process, on a cache on disk and a real port, with a broker that cannot be reached. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openConfig } from '../../src/config/loading.js';
import { systemClock } from '../../src/core/clock.js';
import { NorthError } from '../../src/core/error.js';
import { RunningService } from '../../src/service/running-service.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

/** Nobody listens on port 1, and after the first attempt the next one is five minutes away. */
const CONFIG = `
dataDir: ./data
server: { port: 0, maxBodySize: 100 kB }
connectors:
  - id: plain
    settings: { url: "mqtt://127.0.0.1:1", reconnectPeriod: 300000, qos: 1 }
    transformers:
      - { from: "*", type: time-values-to-mqtt, topic: "plant/{pointId}" }
      - { from: "*", type: setpoints-to-mqtt, mapping: [ { reference: p, topic: cmd/p } ] }
      - { from: "*", type: csv-to-mqtt, topicColumn: topic }
      - { from: "*", type: json-to-mqtt, topic: "doc/{site}", iterator: "$.items[*]" }
  - id: small
    settings: { url: "mqtt://127.0.0.1:1", reconnectPeriod: 300000, qos: 2 }
    caching: { maxSize: 1 MiB }
    transformers:
      - { from: "*", type: time-values-to-mqtt, topic: "small/{pointId}" }
  - id: disabled
    enabled: false
    settings: { url: "mqtt://127.0.0.1:1" }
`;

/** What is in the caches: everything waits, because no broker takes it. */
export type Contents = Readonly<Record<string, { waiting: number; quarantined: number }>>;

export class AttackedService {
  #service: RunningService | undefined;
  #folder = '';
  /** What was logged as unforeseen since the last look. */
  unforeseen: string[] = [];

  static async open(): Promise<AttackedService> {
    const attacked = new AttackedService();
    await attacked.openNew();
    return attacked;
  }

  get port(): number {
    return Number(new URL(this.#running.url).port);
  }

  get #running(): RunningService {
    if (this.#service === undefined) throw new Error('The service is not open.');
    return this.#service;
  }

  /** Begins with empty caches. */
  async openNew(): Promise<void> {
    await this.close();
    this.#folder = temporaryFolder('fuzz-requests');
    writeFileSync(join(this.#folder, 'north.yaml'), CONFIG);
    await this.#open();
  }

  /** Stops and starts again on the same folder: everything that was accepted is still there. */
  async reopen(): Promise<void> {
    const before = await this.contents();
    await this.close();
    await this.#open();
    assert.deepEqual(await this.contents(), before, 'what is stored before and after a restart');
  }

  async #open(): Promise<void> {
    const configFile = join(this.#folder, 'north.yaml');
    const { config } = openConfig(configFile, { env: {} });
    const fail = (fields: object, message: string): void => {
      const error = 'err' in fields ? fields.err : undefined;
      this.unforeseen.push(`${message} ${error instanceof Error ? error.stack : JSON.stringify(fields)}`);
    };
    const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: fail };
    this.#service = await RunningService.open({ config, configFile, clock: systemClock({ unref: true }), logger });
  }

  async contents(): Promise<Contents> {
    const entries = await Promise.all(
      this.#running.connectors().map(async (connector) => {
        const { cache } = await connector.status();
        assert.ok(cache !== undefined, `the cache of ${connector.id} is not open`);
        const { command, alert, telemetry } = cache.waitingCounts;
        return [connector.id, { waiting: command + alert + telemetry, quarantined: cache.quarantinedCount }] as const;
      }),
    );
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async close(): Promise<void> {
    try {
      await this.#service?.stop();
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      throw new Error(`The service does not stop: ${error.message}`, { cause: error });
    }
    this.#service = undefined;
  }
}

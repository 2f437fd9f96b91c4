/**
 * Everything that takes part: a service on a disk of its own, a broker with persistence, a proxy between the two, a
 * persistent subscriber in a process of its own, producers, and the account of what was accepted and what arrived.
 *
 *     crew --HTTP, files--> service --proxy--> broker --proxy--> subscriber process --> tally
 *
 * The second proxy takes down what passes, so that a repetition can be told to be the broker's or ours, and keeps the
 * subscriber away where the broker would make a mistake with it.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { eventually } from '../kit/deadline.js';
import { type Mosquitto, startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startProxy, type Proxy as TcpProxy } from '../kit/proxy.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { serviceFolder } from '../service/service-process.js';
import { Capture } from './capture.js';
import { Crew } from './crew.js';
import { Outlet } from './outlet.js';
import { ServiceEnded, ServiceUnderTest } from './service-under-test.js';
import { openSmallDisk, type SmallDisk } from './small-disk.js';
import { Tally } from './tally.js';
import { WallClock } from './wall-clock.js';

export interface PlantOptions {
  seed: number;
  qos: 1 | 2;
  protocolVersion: '3.1.1' | '5';
}

export const CACHE_SIZE_MIB = 16;
const DISK_SIZE_BYTES = 48 * 1024 * 1024;
const ONLINE_TIMEOUT_MS = 30_000;
/** The first ones tell; those that follow from them do not. */
const BREACHES_MAX = 5;

/** A guarantee that did not hold. */
export class Breach extends Error {}

export class Plant {
  readonly tally: Tally;
  readonly breaches: string[] = [];
  /** Arrivals beyond the first that losses of the broker's state account for. */
  permittedTwice = 0;
  readonly folder: string;
  readonly service: ServiceUnderTest;
  readonly disk: SmallDisk;
  readonly clock: WallClock;
  readonly capture: Capture;
  readonly crew: Crew;
  readonly broker: Mosquitto;
  readonly proxy: TcpProxy;
  readonly outlet: Outlet;
  readonly #timeline: string[] = [];

  private constructor(parts: {
    folder: string;
    service: ServiceUnderTest;
    disk: SmallDisk;
    clock: WallClock;
    capture: Capture;
    broker: Mosquitto;
    proxy: TcpProxy;
    outlet: Outlet;
    tally: Tally;
    options: PlantOptions;
  }) {
    this.folder = parts.folder;
    this.service = parts.service;
    this.disk = parts.disk;
    this.clock = parts.clock;
    this.broker = parts.broker;
    this.proxy = parts.proxy;
    this.outlet = parts.outlet;
    this.tally = parts.tally;
    this.capture = parts.capture;
    this.crew = new Crew({
      url: parts.service.url,
      seed: parts.options.seed,
      tally: this.tally,
      dropFolder: join(parts.folder, 'drop'),
      startled: (text) => {
        this.note(text);
        if (this.breaches.length < BREACHES_MAX) this.breaches.push(text);
      },
    });
  }

  static async open(options: PlantOptions): Promise<Plant> {
    const broker = await startMosquitto({ persistence: true });
    const tally = new Tally();
    const captures = temporaryFolder('capture');
    const capture = new Capture(join(captures, 'service'));
    const proxy = await startProxy({
      targetPort: broker.port,
      passed: (connection, direction, chunk) => capture.passed(connection, direction, chunk),
    });
    const port = await freePort();
    const place = serviceFolder({
      dataDir: './disk/data',
      server: { port },
      connectors: [connectorConfig(proxy.url, options)],
      inputs: [{ id: 'files', type: 'folder', path: './drop', pattern: '*.csv', interval: 100, settleTime: 0 }],
    });
    return new Plant({
      folder: place.folder,
      service: new ServiceUnderTest(place, port),
      disk: openSmallDisk(join(place.folder, 'disk'), DISK_SIZE_BYTES),
      clock: new WallClock(place.folder),
      broker,
      capture,
      proxy,
      outlet: await Outlet.open(broker, tally, options.qos, captures),
      tally,
      options,
    });
  }

  /** The folders with what a search for a cause needs. */
  evidenceFolders(): readonly [name: string, folder: string][] {
    return [
      ['service', this.folder],
      ['broker', this.broker.folder],
      ['capture', dirname(this.capture.folder)],
    ];
  }

  /** For the timeline that is kept as evidence. */
  note(text: string): void {
    this.#timeline.push(`${new Date().toISOString()} ${text}`);
  }

  /** Starts the service. On a full disk it may refuse to start, with that as its reason; the disk is freed then. */
  async startService(): Promise<void> {
    try {
      await this.service.start();
    } catch (error) {
      const isRefusal =
        error instanceof ServiceEnded && error.end.code === 1 && error.output.includes('error CACHE_DISK_FULL');
      if (!isRefusal || !this.disk.isFull) throw error;
      this.note('the service does not start on a full disk; the disk is freed');
      this.disk.free();
      await this.service.start();
    }
    this.note(`service ${this.service.pid} started`);
  }

  async killService(): Promise<void> {
    await this.service.kill();
    this.clock.clearAfter(this.service.pid);
    this.note(`service ${this.service.pid} killed`);
  }

  /**
   * Ends the connection of the service and keeps it from coming back. When it resolves, the broker has worked off
   * everything that reached it, and the subscriber has got and acknowledged everything that the broker had for it.
   */
  async isolateBroker(): Promise<void> {
    await this.proxy.refuse();
    this.proxy.hangUp();
    await eventually(
      () => this.proxy.openCount === 0,
      () => `the broker to close the connection of the service. Its log: ${this.broker.log().slice(-2000)}`,
    );
    await this.outlet.passMarker();
    // The second one tells that the broker has the subscriber's last acknowledgements, too: they were sent before its own.
    await this.outlet.passMarker();
    this.note('the broker is isolated and idle');
  }

  async admitService(): Promise<void> {
    this.proxy.resume('toBroker');
    this.proxy.resume('toClient');
    await this.proxy.accept();
  }

  /** Kills the broker and takes away what it had on disk. */
  async loseBrokerState(): Promise<void> {
    await this.broker.kill();
    for (const name of ['mosquitto.db', 'mosquitto.db.new']) rmSync(join(this.broker.folder, name), { force: true });
    this.note('broker killed, its state is gone');
  }

  /** Takes back whatever stands in the way and waits until the connector is online. */
  async heal(): Promise<void> {
    this.disk.free();
    await this.admitService();
    await this.outlet.attachSubscriber();
    if (!this.broker.isRunning) await this.broker.restart();
    this.service.assertAlive();
    if (!this.service.isRunning) await this.startService();
    await this.service.until(({ state }) => state === 'online', 'the connector to be online', ONLINE_TIMEOUT_MS);
  }

  /** Ends everything and, when told so, writes what a search for the cause needs into a folder. */
  async close(keep: ((plant: Plant) => void) | undefined): Promise<void> {
    this.crew.end();
    await this.service.kill().catch(() => undefined);
    this.clock.clearAfter(this.service.pid);
    await this.proxy.close();
    await this.broker.kill();
    if (keep !== undefined) {
      writeFileSync(join(this.folder, 'timeline.log'), `${this.#timeline.join('\n')}\n`);
      writeFileSync(join(this.folder, 'arrived.log'), this.outlet.arrivals());
      for (const [index, { startedAt, process }] of this.service.lives.entries()) {
        writeFileSync(join(this.folder, `service-${index}.log`), `${startedAt} pid ${process.pid}\n${process.output}`);
      }
      keep(this);
    }
    await this.outlet.close();
    this.disk.close();
  }

  /** Who holds the data directory, by its own account. */
  lockHolderPid(): number {
    const text = readFileSync(join(this.folder, 'disk', 'data', 'lock.json'), 'utf8');
    return (JSON.parse(text) as { pid: number }).pid;
  }
}

function connectorConfig(url: string, { qos, protocolVersion }: PlantOptions): Record<string, unknown> {
  return {
    id: 'plant',
    settings: {
      url,
      qos,
      protocolVersion,
      clientId: 'plant',
      reconnectPeriod: 100,
      connectTimeout: 3000,
      ackTimeout: 2000,
      keepalive: 30,
    },
    caching: { maxSize: `${CACHE_SIZE_MIB} MiB`, archive: { enabled: true, retentionDuration: '5 s' } },
    transformers: [
      { type: 'time-values-to-mqtt', topic: 'chaos/furnace/{pointId}' },
      {
        type: 'csv-to-mqtt',
        topic: 'chaos/rows',
        payloadType: 'object',
        objectFields: [{ column: 'id', key: 'id', type: 'string' }],
      },
    ],
  };
}

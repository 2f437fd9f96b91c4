/**
 * What the user's own broker, way and machine can do, politely bounded.
 *
 *     bare connection      connect, ping, one publish at a time    the broker and the way to it
 *     file                 write and sync                          the disk
 *     acceptance           content to receipt, nothing is sent     the disk and this machine
 *     whole product        content to acknowledgement              all of them together: what limits?
 *
 * All of it happens in a fresh folder that is removed at the end, and with clean sessions, of which nothing stays at the
 * broker. One connection at a time.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { isThisMachine } from '../config/broker-url.js';
import type { ConnectorInput } from '../config/connector.js';
import { connectorSchema } from '../config/connector.js';
import { brokerUrls } from '../config/settings.js';
import { errorText, NorthError } from '../core/error.js';
import { packageVersion } from '../core/version.js';
import { fileSystemOf } from '../selftest/file-system.js';
import { assertRoom, makeRunFolder } from '../selftest/run-folder.js';
import { measureSync } from '../selftest/sync-timing.js';
import { type AcceptanceRate, measureAcceptance } from './acceptance-rate.js';
import { limitOf } from './limit.js';
import type { LimitedThroughput, MeasurementReport } from './measurement-report.js';
import { type BrokerLimits, measureRoundTrip, type RoundTrip, roundsMax } from './round-trip.js';
import { measureThroughput, type Throughput } from './throughput.js';

/** Header, packet identifier and properties of a PUBLISH, with some room. */
const PACKET_EXTRA_BYTES = 16;
const PING_TIMEOUT_LEAST_MS = 2000;

export interface MeasurementOptions {
  /** The settings of the connection. */
  connection: ConnectorInput['settings'];
  topic: string;
  clientId: string | undefined;
  qosLevels: readonly (0 | 1 | 2)[];
  /** At most, at each level. */
  messages: number;
  timeMaxMs: number;
  payloadBytes: number;
  /** Messages per second; undefined: no limit. */
  rate: number | undefined;
  /** An existing folder on the disk in question. */
  folder: string;
  signal: AbortSignal;
  /** What is being measured, and how many messages of it are done. */
  progress(what: string, count: number): void;
}

/** How many messages are sent at most. */
export function messagesInAll({ qosLevels, messages }: Pick<MeasurementOptions, 'qosLevels' | 'messages'>): number {
  return qosLevels.reduce<number>((sum, qos) => sum + messages + (qos === 0 ? 0 : roundsMax(messages)), 0);
}

/** Bytes of one message on the wire, nearly. */
export function messageSizeBytes({ topic, payloadBytes }: Pick<MeasurementOptions, 'topic' | 'payloadBytes'>): number {
  return Buffer.byteLength(topic) + payloadBytes + PACKET_EXTRA_BYTES;
}

/**
 * Rejects, with nothing left behind, when there is nothing to measure: COMMAND_INVALID and CACHE_DISK_FULL for the folder,
 * why the broker does not accept us. What fails later is told in the report, beside the figures until then.
 */
export async function measure(options: MeasurementOptions): Promise<MeasurementReport> {
  const folder = makeRunFolder(options.folder, 'mqtt-north-bench');
  try {
    assertRoom(options.folder, 'the measurement');
    return await new Measurement(options, folder).run();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class Measurement {
  readonly #options: MeasurementOptions;
  readonly #folder: string;
  readonly #clientId: string;
  readonly #payload: string;
  readonly #startedAtMs = Date.now();
  readonly #startMs = performance.now();
  readonly #roundTrip: RoundTrip = {
    connect: undefined,
    ping: undefined,
    publishQos1: undefined,
    publishQos2: undefined,
  };
  readonly #throughput: LimitedThroughput[] = [];
  readonly #notes: string[] = [];
  #limits: BrokerLimits | undefined;
  #disk: MeasurementReport['disk'];
  #acceptance: AcceptanceRate | undefined;

  constructor(options: MeasurementOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#clientId = options.clientId ?? `mqtt-north-bench-${randomBytes(4).toString('hex')}`;
    this.#payload = 'a'.repeat(options.payloadBytes);
  }

  async run(): Promise<MeasurementReport> {
    let failure: NorthError | undefined;
    try {
      await this.#measureAll();
    } catch (error) {
      const known =
        error instanceof NorthError ? error : new NorthError('INTERNAL', errorText(error), { cause: error });
      if (!this.#options.signal.aborted) failure = known;
      if (this.#limits === undefined && !this.#options.signal.aborted) throw known;
    }
    return this.#report(failure ?? this.#throughput.find((step) => step.failure !== undefined)?.failure);
  }

  async #measureAll(): Promise<void> {
    const { signal } = this.#options;
    await this.#measureRoundTrip();
    if (signal.aborted) return;
    this.#measureDisk();
    this.#options.progress('acceptance', 0);
    this.#acceptance = await measureAcceptance({
      settings: this.#settings(),
      folder: this.#subfolder('acceptance'),
      topic: this.#options.topic,
      payload: this.#payload,
      messagesMax: this.#options.messages,
      signal,
    });
    for (const qos of this.#levels()) {
      if (signal.aborted) return;
      const step = await this.#measureThroughput(qos);
      this.#throughput.push({ ...step, limit: this.#limitOf(step) });
      if (step.failure !== undefined) return;
    }
  }

  async #measureRoundTrip(): Promise<void> {
    const { topic, qosLevels, messages, timeMaxMs, rate, clientId, signal } = this.#options;
    const { settings } = connectorSchema.parse({ id: 'bench', settings: this.#options.connection });
    const [broker] = brokerUrls(settings);
    if (broker === undefined) throw new NorthError('CONFIG_INVALID', 'The settings name no broker.');
    this.#options.progress('round trip', 0);
    await measureRoundTrip(
      {
        settings,
        broker,
        clientId: this.#clientId,
        hasFixedId: clientId !== undefined,
        timeoutMs: Math.max(PING_TIMEOUT_LEAST_MS, timeMaxMs),
        topic,
        payload: Buffer.from(this.#payload),
        qosLevels: ([1, 2] as const).filter((qos) => qosLevels.includes(qos)),
        messagesMax: messages,
        timeMaxMs,
        rate,
        signal,
      },
      this.#roundTrip,
      (limits) => {
        this.#limits = limits;
        this.#checkGrant(limits);
      },
    );
  }

  #checkGrant({ grant }: BrokerLimits): void {
    const sizeBytes = messageSizeBytes(this.#options);
    const mostBytes = grant.maximumPacketSizeBytes;
    if (mostBytes !== undefined && sizeBytes > mostBytes) {
      throw new NorthError('PUBLISH_TOO_LARGE', `The broker takes packets of ${mostBytes} bytes at most.`, {
        remedy: 'Measure with a smaller --payload.',
      });
    }
    const { maximumQos } = grant;
    const refused = this.#options.qosLevels.filter((qos) => qos > maximumQos);
    if (refused.length === 0) return;
    const text = `The broker grants QoS ${maximumQos} at most; QoS ${refused.join(' and ')} cannot be measured.`;
    if (refused.length < this.#options.qosLevels.length) this.#notes.push(text);
    else throw new NorthError('DELIVERY_DOWNGRADED', text, { remedy: `Measure with --qos ${maximumQos}.` });
  }

  #levels(): (0 | 1 | 2)[] {
    const maximumQos = this.#limits?.grant.maximumQos ?? 0;
    return this.#options.qosLevels.filter((qos) => qos <= maximumQos);
  }

  #measureDisk(): void {
    this.#options.progress('disk', 0);
    const fileSystem = fileSystemOf(this.#folder);
    this.#disk = { fileSystem, sync: measureSync(this.#folder) };
    if (fileSystem.kind === 'memory') {
      this.#notes.push(
        'The folder lies in memory, so that no disk was measured: name one on the disk of the data with --dir.',
      );
    }
  }

  #measureThroughput(qos: 0 | 1 | 2): Promise<Throughput> {
    const { topic, messages, timeMaxMs, rate, signal, progress } = this.#options;
    return measureThroughput({
      settings: this.#settings(),
      qos,
      maximumQos: this.#limits?.grant.maximumQos ?? 2,
      folder: this.#subfolder(`qos${qos}`),
      topic,
      payload: this.#payload,
      messages,
      timeMaxMs,
      rate,
      signal,
      progress: (count) => progress(`QoS ${qos}`, count),
    });
  }

  /** With the version that the broker took, so that no connection is lost to asking for another one. */
  #settings(): ConnectorInput['settings'] {
    const version = this.#limits?.protocolVersion;
    const protocolVersion = version === undefined ? 'auto' : version === 5 ? '5' : '3.1.1';
    return { ...this.#options.connection, protocolVersion, clientId: this.#clientId };
  }

  #subfolder(name: string): string {
    const folder = join(this.#folder, name);
    mkdirSync(folder);
    return folder;
  }

  #limitOf(throughput: Throughput): LimitedThroughput['limit'] {
    const { publishQos1, publishQos2, ping } = this.#roundTrip;
    return limitOf({
      throughput,
      acceptance: this.#acceptance,
      alone: [ping, publishQos1, publishQos2][throughput.qos],
      syncMs: this.#disk === undefined ? undefined : this.#disk.sync.fdatasyncUs / 1000,
      receiveMaximum: this.#receiveMaximum,
      rate: this.#options.rate,
      isBrokerHere: isThisMachine(this.#broker.host),
      coresCount: cpus().length,
    });
  }

  /** MQTT 3.1.1 cannot announce it. */
  get #receiveMaximum(): number | undefined {
    return this.#limits?.protocolVersion === 5 ? this.#limits.grant.receiveMaximum : undefined;
  }

  get #broker(): ReturnType<typeof brokerUrls>[number] {
    const { url } = this.#options.connection;
    const [broker] = brokerUrls({ url, brokers: [] });
    if (broker === undefined) throw new NorthError('CONFIG_INVALID', 'The settings name no broker.');
    return broker;
  }

  #report(failure: NorthError | undefined): MeasurementReport {
    const { topic, payloadBytes, rate, signal } = this.#options;
    const grant = this.#limits?.grant;
    return {
      version: packageVersion(),
      startedAt: new Date(this.#startedAtMs).toISOString(),
      elapsedSeconds: Math.round((performance.now() - this.#startMs) / 100) / 10,
      broker: this.#broker.display,
      topic,
      payloadBytes,
      rate,
      machine: { coresCount: cpus().length, model: cpus()[0]?.model ?? 'unknown', node: process.version },
      grant:
        grant === undefined || this.#limits === undefined
          ? undefined
          : {
              protocolVersion: this.#limits.protocolVersion,
              maximumQos: grant.maximumQos,
              receiveMaximum: this.#receiveMaximum,
              maximumPacketSizeBytes: grant.maximumPacketSizeBytes,
            },
      roundTrip: this.#roundTrip,
      disk: this.#disk,
      acceptance: this.#acceptance,
      throughput: this.#throughput,
      notes: this.#notes,
      isInterrupted: signal.aborted,
      failure,
    };
  }
}

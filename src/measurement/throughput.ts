/**
 * How much goes through: the product's own acceptance, cache and session on one side, the broker's acknowledgements on
 * the other. Messages are handed in as the allowance says, each is on stable storage before it is sent, and a message
 * counts when the broker has acknowledged it.
 *
 * At QoS 0 nothing is acknowledged. There, the last message of each request goes out at QoS 1: a broker reads in order,
 * so that its acknowledgement says that all before it have arrived. A broker that grants QoS 0 only is counted by what
 * the socket took.
 */
import { type ConnectorInput, connectorSchema } from '../config/connector.js';
import type { Connector, LatencyHistogram } from '../connector/connector.js';
import { openLiveConnector } from '../connector/open-connector.js';
import { errorText, NorthError } from '../core/error.js';
import { isErrorCode } from '../core/error-codes.js';
import { recordSizeBytes, requestSize } from './acceptance-rate.js';
import { Allowance, type Growth } from './allowance.js';
import { Observation, type ObservedFigures, type SessionStatus } from './observation.js';
import { pause } from './pause.js';

const POLL_MS = 5;
const START_MESSAGES = 20;
const START_SIZE_MAX_BYTES = 64 * 1024;
const ALLOWANCE_MAX = 32_768;
const ALLOWANCE_SIZE_MAX_BYTES = 16 * 1024 * 1024;
/** A broker that acknowledges nothing for so long is left alone. */
const SILENCE_MAX_MS = 5000;
/** How long acknowledgements are waited for when all is handed in, or the time is over. */
const DRAIN_MS = 1000;
const CLOSE_MS = 1000;
const RECONNECT_MS = 500;
const LOSSES_MAX = 2;

/** The observed figures are those of the second half of the messages. */
export interface Throughput extends ObservedFigures {
  qos: 0 | 1 | 2;
  /** Messages that were stored and, as far as there was time, sent. */
  accepted: number;
  acknowledged: number;
  /** False: the broker grants QoS 0 only, and what the socket took is counted. */
  isConfirmed: boolean;
  elapsedSeconds: number;
  /** Messages that were allowed to be under way at the end, and why not more. */
  allowance: number;
  growth: Growth;
  /** Connections that were lost. */
  losses: number;
  warnings: readonly string[];
  failure: NorthError | undefined;
}

export interface ThroughputOptions {
  settings: ConnectorInput['settings'];
  qos: 0 | 1 | 2;
  maximumQos: 0 | 1 | 2;
  folder: string;
  topic: string;
  payload: string;
  messages: number;
  timeMaxMs: number;
  rate: number | undefined;
  signal: AbortSignal;
  progress(acknowledged: number): void;
}

/** What goes wrong on the way is in the result, beside the figures until then. Rejects when the cache cannot be opened. */
export async function measureThroughput(options: ThroughputOptions): Promise<Throughput> {
  const { settings, qos, rate, folder } = options;
  const config = connectorSchema.parse({
    id: 'throughput',
    settings: {
      ...settings,
      qos,
      // Nothing of the measurement stays at the broker; the exchange of each message is the same.
      persistent: false,
      reconnectPeriod: RECONNECT_MS,
      ...(rate === undefined ? {} : { rateLimit: { messagesPerSecond: rate } }),
    },
    caching: { maxSize: '256 MiB' },
  });
  const connector = await openLiveConnector(config, { folder });
  try {
    return await new ThroughputRun(connector, options).run();
  } finally {
    await connector.close(options.signal.aborted ? 0 : CLOSE_MS);
  }
}

class ThroughputRun {
  readonly #connector: Connector;
  readonly #options: ThroughputOptions;
  readonly #allowance: Allowance;
  readonly #requestMax: number;
  readonly #warnings = new Set<string>();
  #observation: Observation;
  #offered = 0;
  #accepted = 0;
  #losses = 0;
  #failure: NorthError | undefined;
  #ack: LatencyHistogram = { bucketsSeconds: [], counts: [], sumSeconds: 0, count: 0 };
  /** At QoS 0: the sizes of the requests whose last message is not acknowledged yet. */
  readonly #openRequests: number[] = [];

  constructor(connector: Connector, options: ThroughputOptions) {
    this.#connector = connector;
    this.#options = options;
    this.#observation = new Observation(options.timeMaxMs);
    const messageBytes = recordSizeBytes(options.topic, options.payload);
    const start = Math.max(1, Math.min(START_MESSAGES, Math.floor(START_SIZE_MAX_BYTES / messageBytes)));
    const max = Math.max(1, Math.min(ALLOWANCE_MAX, Math.floor(ALLOWANCE_SIZE_MAX_BYTES / messageBytes)));
    this.#requestMax = requestSize(messageBytes, options.messages);
    this.#allowance = new Allowance(start, max, performance.now());
  }

  async run(): Promise<Throughput> {
    const { signal } = this.#options;
    const ends = this.#listen();
    try {
      this.#connector.start();
      while (!(await this.#isOnline()) && this.#failure === undefined && !signal.aborted) await pause(POLL_MS, signal);
      await this.#measure();
    } finally {
      for (const end of ends) end();
    }
    return this.#result();
  }

  #listen(): (() => void)[] {
    const connector = this.#connector;
    return [
      connector.on('failure', ({ error }) => {
        // Without a single acknowledgement there is no hope that the next connection brings more.
        if (this.#count === 0 || ++this.#losses > LOSSES_MAX) this.#fail(error);
        else this.#allowance.slowDown(performance.now());
      }),
      connector.on('quarantined', ({ code, reason }) => {
        this.#fail(
          new NorthError(isErrorCode(code) ? code : 'PUBLISH_REFUSED', `The broker refused a message. ${reason}`),
        );
      }),
      connector.on('warning', ({ code, message }) => {
        // About settings that were made here for the measurement alone.
        if (code !== 'SETTING_DOUBTFUL') this.#warnings.add(`${code}: ${message}`);
      }),
    ];
  }

  async #isOnline(): Promise<boolean> {
    return (await this.#connector.status()).state === 'online';
  }

  async #measure(): Promise<void> {
    const { signal, messages, timeMaxMs } = this.#options;
    this.#observation = new Observation(timeMaxMs);
    const endMs = this.#observation.startMs + timeMaxMs;
    let drainEndMs: number | undefined;
    while (this.#failure === undefined && !signal.aborted) {
      this.#look(await this.#connector.status());
      const nowMs = performance.now();
      const isDone = this.#count >= this.#offered;
      const isHandedIn = this.#offered >= messages || nowMs >= endMs;
      if (isHandedIn) {
        drainEndMs ??= nowMs + DRAIN_MS;
        if (isDone || nowMs >= drainEndMs) break;
      } else this.#handIn();
      if (!isDone && nowMs - this.#observation.record.grownMs > SILENCE_MAX_MS) this.#fail(this.#silence());
      await pause(POLL_MS, signal);
    }
    if (this.#count === 0 && this.#failure === undefined && !signal.aborted) this.#fail(this.#silence());
    if (this.#count < this.#offered) this.#observation.record.breakOff(performance.now());
  }

  #silence(): NorthError {
    const text =
      this.#count === 0
        ? `The broker has accepted the connection, but acknowledged none of ${this.#offered} messages.`
        : `The broker acknowledged ${this.#count} messages, and then nothing for ${SILENCE_MAX_MS / 1000} s.`;
    return new NorthError('ACK_OVERDUE', text, {
      remedy: "Look at the broker's load, quotas and log; measure with a --rate that it allows.",
    });
  }

  #look(status: SessionStatus): void {
    const before = this.#ack;
    const after = status.ackLatency ?? before;
    const ackCount = after.count - before.count;
    const countBefore = this.#count;
    this.#ack = after;
    this.#observation.note(this.#confirmed(status, ackCount), status);
    const ackSumMs = (after.sumSeconds - before.sumSeconds) * 1000;
    this.#allowance.acknowledged(this.#count - countBefore, ackCount, ackSumMs, performance.now());
    this.#options.progress(this.#count);
  }

  get #count(): number {
    return this.#observation.record.count;
  }

  /** @param ackCount acknowledgements since the last look. */
  #confirmed(status: SessionStatus, ackCount: number): number {
    if (this.#options.qos > 0 || !this.#hasMarkers) return status.counts.telemetry.published;
    const done = this.#openRequests.splice(0, ackCount);
    return done.reduce((sum, size) => sum + size, this.#count);
  }

  get #hasMarkers(): boolean {
    return this.#options.maximumQos > 0;
  }

  /** Fills up what is under way, in requests that are not too small: each is a transaction of its own, or nearly. */
  #handIn(): void {
    const { messages } = this.#options;
    const underWay = this.#offered - this.#count;
    let room = Math.min(this.#allowance.size - underWay, messages - this.#offered);
    if (room < Math.min(this.#allowance.size / 4, messages - this.#offered)) return;
    while (room > 0) {
      const size = Math.min(room, this.#requestMax);
      this.#offered += size;
      room -= size;
      if (this.#options.qos === 0) this.#openRequests.push(size);
      this.#accept(size).catch((error: unknown) => {
        this.#fail(
          error instanceof NorthError ? error : new NorthError('INTERNAL', errorText(error), { cause: error }),
        );
      });
    }
  }

  async #accept(size: number): Promise<void> {
    const { topic, payload, qos } = this.#options;
    const elements = new Array<unknown>(size).fill({ topic, payload });
    if (qos === 0 && this.#hasMarkers) elements[size - 1] = { topic, payload, qos: 1 };
    await this.#connector.accept({ type: 'messages', elements }, { source: 'measurement' });
    this.#accepted += size;
  }

  #fail(error: NorthError): void {
    this.#failure ??= error;
  }

  #result(): Throughput {
    const { qos } = this.#options;
    return {
      qos,
      accepted: this.#accepted,
      acknowledged: this.#count,
      isConfirmed: qos > 0 || this.#hasMarkers,
      elapsedSeconds: Math.round(performance.now() - this.#observation.startMs) / 1000,
      ...this.#observation.figures(qos),
      allowance: this.#allowance.size,
      growth: this.#allowance.growth,
      losses: this.#losses,
      warnings: [...this.#warnings],
      failure: this.#failure,
    };
  }
}

/**
 * One session with the test in all other parts: it plays the broker packet by packet, stores when it wants and lets the
 * time pass. For rules that need one exact sequence; for everything at once there is `world.ts`.
 */
import assert from 'node:assert/strict';
import mqttPacket, { type IConnackPacket, type IPublishPacket, type Packet } from 'mqtt-packet';
import type { SessionIdentity } from '../../src/cache/store.js';
import type { NorthError } from '../../src/core/error.js';
import type { Lane } from '../../src/core/lane.js';
import type { Message } from '../../src/core/message.js';
import type { SessionSave } from '../../src/session/saving.js';
import { Session, type SessionEvent, type SessionOptions } from '../../src/session/session.js';
import { type Key, keyIn, keyOf, packetIdOf, payloadOf } from '../simulation/key.js';
import { ModelCache } from './model-cache.js';

export interface StageOptions extends Partial<SessionOptions> {
  protocolVersion?: 4 | 5;
  firstOffset?: number;
  identity?: SessionIdentity;
  /** Whether a message that is now settled may be; by default every one may. */
  justifies?: (lane: Lane, offset: number) => boolean;
  /** What is accepted is given to a session that is up to it; otherwise, and by default, it is read. */
  offersMemory?: boolean;
}

/** More turns than this without time passing are taken for a machine that spins. */
const TURNS_MAX = 2000;

const PINGRESP = Buffer.from([0xd0, 0]);

export class Stage {
  readonly cache: ModelCache;
  readonly protocolVersion: 4 | 5;
  session: Session;
  nowMs = 1000;
  wallMs = 1_700_000_000_000;
  events: SessionEvent[] = [];
  /** When the session asked to be woken. */
  wakeMs: number | undefined;
  /** True: what is to be stored waits for `store`. */
  isHoldingSaves = false;
  /** True: what is to be read waits until this is false again. */
  isHoldingReads = false;
  saves: { save: SessionSave; epoch: number }[] = [];
  saveCount = 0;
  readCount = 0;
  /** What `write` gives: false says that the socket is full. */
  isWritable = true;
  /** False: pings get no answer. */
  answersPings = true;
  /** Told of the answer to a ping before the session gets it: it may fall into the middle of what a test says. */
  onPingAnswered: (bytes: Buffer) => void = () => undefined;
  /** How the session has ended the connection, until the test goes on. */
  ended: 'gracefully' | 'at once' | undefined;
  /** Counts the sessions that the broker said to be new. */
  #epoch = 0;
  readonly #options: SessionOptions;
  readonly #offersMemory: boolean;
  #sent: Packet[] = [];
  #raw: Buffer[] = [];
  #pingCount = 0;
  #unansweredPings = 0;
  #parser = mqttPacket.parser();
  #reads: { lane: Lane; from: number; sizeBytesMax: number }[] = [];

  constructor(options: StageOptions) {
    const { protocolVersion = 5, firstOffset = 0, identity, justifies = () => true, offersMemory, ...rest } = options;
    this.#offersMemory = offersMemory === true;
    this.protocolVersion = protocolVersion;
    this.cache = new ModelCache(firstOffset, justifies);
    this.cache.identity = identity;
    this.#options = {
      cacheId: '0badcafe',
      clientId: 'stage',
      persistent: true,
      sessionExpirySeconds: 3600,
      keepaliveSeconds: 0,
      username: undefined,
      password: undefined,
      will: undefined,
      ackTimeoutMs: 30_000,
      inflightMax: 65_535,
      messagesPerSecond: 0,
      bytesPerSecond: 0,
      maxAgeMs: 0,
      readAheadBytes: 4 * 1024 * 1024,
      messageIdProperty: undefined,
      ...rest,
    };
    this.session = this.#open();
  }

  /** A new process over what is stored. What was under way is gone. */
  crash(): void {
    this.saves = [];
    this.#reads = [];
    this.events = [];
    this.ended = undefined;
    this.session = this.#open();
  }

  /** Appends so many messages and tells the session. Gives their keys. */
  accept(lane: Lane, count: number, message: Partial<Message> = {}): Key[] {
    const first = this.cache.nextOffsets[lane];
    const keys = Array.from({ length: count }, (_, i) => keyOf(lane, first + i));
    const messages = keys.map((key): Message => {
      const base = {
        topic: `plant/${lane}`,
        payload: payloadOf(key),
        qos: 1,
        retain: false,
        expirySeconds: 0,
      } as const;
      return { ...base, lane, ...message };
    });
    const { to, batch } = this.cache.append(lane, messages, this.wallMs);
    const isOffered = this.#offersMemory && this.session.isUpTo(lane);
    this.session.offered(lane, to, isOffered ? [batch] : [], this.nowMs, this.wallMs);
    this.flush();
    return keys;
  }

  /** Opens the transport and gives the CONNECT that is sent. What was sent before and not looked at is forgotten. */
  connect(broker = 'broker:1883'): Packet & { cmd: 'connect' } {
    this.#raw = [];
    this.#sent = [];
    this.#unansweredPings = 0;
    this.#parser = mqttPacket.parser();
    this.#parser.on('packet', (packet) => this.#sent.push(packet));
    this.#parser.on('error', (error: unknown) => assert.fail(`The session wrote what is no MQTT: ${String(error)}`));
    this.session.connected(broker, this.protocolVersion, this.nowMs);
    const [packet] = this.sent();
    assert.ok(packet?.cmd === 'connect');
    return packet;
  }

  /** Connects and is accepted. */
  online(connack: Partial<IConnackPacket> = {}, broker?: string): void {
    this.connect(broker);
    this.answer({ cmd: 'connack', sessionPresent: false, ...this.#code(0), ...connack });
  }

  /** A packet, or several in one piece, comes from the broker. */
  answer(...packets: readonly Packet[]): void {
    this.cache.isQosLowered ||= packets.some(
      (packet) => packet.cmd === 'connack' && packet.properties?.maximumQoS !== undefined,
    );
    const options = { protocolVersion: this.protocolVersion };
    this.receive(Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, options))));
  }

  receive(bytes: Buffer): void {
    this.session.received(bytes, this.nowMs, this.wallMs);
    this.flush();
  }

  acknowledge(cmd: 'puback' | 'pubrec' | 'pubcomp', keys: readonly Key[], reasonCode = 0): void {
    this.answer(...keys.map((key) => ({ cmd, messageId: packetIdOf(key), ...this.#code(reasonCode) })));
  }

  #code(code: number): { reasonCode?: number; returnCode?: number } {
    return this.protocolVersion === 5 ? { reasonCode: code } : { returnCode: code };
  }

  /** The connection ends, as the transport sees it. */
  lose(error?: NorthError): void {
    this.session.disconnected(error, this.nowMs, this.wallMs);
    this.flush();
  }

  /** Answers the reads and saves that are not held back, until there are none. */
  flush(): void {
    for (let turns = 0; ; turns++) {
      assert.ok(turns < TURNS_MAX, 'The session spins.');
      const read = this.isHoldingReads ? undefined : this.#reads.shift();
      if (read !== undefined) {
        const batches = this.cache.read(read.lane, read.from, read.sizeBytesMax);
        this.session.supply(read.lane, read.from, batches, this.nowMs, this.wallMs);
      } else if (this.#unansweredPings > 0 && this.answersPings && this.ended === undefined) {
        this.#unansweredPings--;
        this.onPingAnswered(PINGRESP);
        this.session.received(PINGRESP, this.nowMs, this.wallMs);
      } else if (this.saves.length > 0 && !this.isHoldingSaves) this.store();
      else if (this.ended !== undefined) {
        this.ended = undefined;
        this.session.disconnected(undefined, this.nowMs, this.wallMs);
      } else return;
    }
  }

  /** Stores the save that waits, or fails to. */
  store(succeeds = true): void {
    const due = this.saves.shift();
    assert.ok(due !== undefined, 'Nothing waits to be stored.');
    if (succeeds) assert.deepEqual(this.cache.commit(due.save, due.epoch), []);
    this.session.saved(succeeds, this.nowMs, this.wallMs);
  }

  /** Lets the time pass, waking the session when it asked for it. */
  pass(durationMs: number): void {
    const untilMs = this.nowMs + durationMs;
    let turns = 0;
    while (this.wakeMs !== undefined && this.wakeMs <= untilMs) {
      assert.ok(turns++ < TURNS_MAX, 'The session asks to be woken again and again.');
      this.#advance(Math.max(0, this.wakeMs - this.nowMs));
      this.wakeMs = undefined;
      this.session.tick(this.nowMs, this.wallMs);
      this.flush();
    }
    this.#advance(untilMs - this.nowMs);
  }

  #advance(durationMs: number): void {
    this.nowMs += durationMs;
    this.wallMs += durationMs;
  }

  /** How many pings were sent since the last call. */
  pings(): number {
    const count = this.#pingCount;
    this.#pingCount = 0;
    return count;
  }

  /** What was sent since the last call, but for pings. */
  sent(): Packet[] {
    for (const bytes of this.#raw.splice(0)) this.#parser.parse(bytes);
    return this.#sent.splice(0);
  }

  /** The same as short words: `PUBLISH t3 dup`, `PUBREL t3`, `DISCONNECT`. */
  sentWords(): string[] {
    return this.sent().map((packet) => {
      if (packet.cmd === 'publish') return `PUBLISH ${keyIn(Buffer.from(packet.payload))}${packet.dup ? ' dup' : ''}`;
      if (packet.cmd !== 'pubrel') return packet.cmd.toUpperCase();
      const key = (['command', 'alert', 'telemetry'] as const)
        .flatMap((lane) => {
          const { firstUnsettled } = this.cache.progress.lanes[lane];
          return Array.from({ length: 100 }, (_, i) => keyOf(lane, firstUnsettled + i));
        })
        .find((name) => packetIdOf(name) === packet.messageId);
      return `PUBREL ${key ?? packet.messageId}`;
    });
  }

  published(): IPublishPacket[] {
    return this.sent().filter((packet) => packet.cmd === 'publish');
  }

  publishedKeys(): Key[] {
    return this.published().map((packet) => keyIn(Buffer.from(packet.payload)));
  }

  reports<K extends SessionEvent['kind']>(kind: K): Extract<SessionEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<SessionEvent, { kind: K }> => event.kind === kind);
  }

  /** The code of the error that the last connection ended with. */
  endCode(): string | undefined {
    return this.reports('ended').at(-1)?.error?.code;
  }

  #open(): Session {
    this.cache.restart();
    return new Session(this.#options, this.cache.stored(), {
      write: (bytes) => {
        if (bytes.length === 2 && bytes[0] === 0xc0) {
          this.#pingCount++;
          this.#unansweredPings++;
        } else this.#raw.push(Buffer.from(bytes));
        return this.isWritable;
      },
      close: (graceful) => {
        this.ended = graceful ? 'gracefully' : 'at once';
      },
      wakeAt: (timeMs) => {
        this.wakeMs = timeMs;
      },
      read: (lane, from, sizeBytesMax) => {
        this.readCount++;
        this.#reads.push({ lane, from, sizeBytesMax });
      },
      save: (save) => {
        assert.equal(this.saves.length, 0, 'A save is asked for while another is under way.');
        this.saveCount++;
        this.saves.push({ save, epoch: this.#epoch });
      },
      report: (event) => {
        if (event.kind === 'granted' && !event.grant.sessionPresent) this.#epoch++;
        this.events.push(event);
      },
    });
  }
}

export function numberOf(prefix: 'c' | 'a' | 't', from: number, to: number): Key[] {
  return Array.from({ length: to - from }, (_, i) => `${prefix}${from + i}`);
}

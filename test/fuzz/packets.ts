/**
 * A broker that sends whatever it likes, against the whole session and its packet reader, in memory.
 *
 * A case is a story: messages are accepted, connections open and close, the broker speaks, time passes, the process
 * crashes. Afterwards an honest broker answers. Whatever was sent before: nothing throws, a connection ends with a code
 * that can be explained, nothing is settled that no broker has acknowledged, and every message has arrived or stands in
 * quarantine with a reason.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet';
import { ERRORS, isErrorCode } from '../../src/core/error-codes.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { Stage } from '../session/stage.js';
import { type Key, keyIn, keyOf, keyOfPacketId, packetIdOf, placeOf } from '../simulation/key.js';
import { type Read, readChunks } from '../wire/reading.js';
import { AcknowledgementScanner, type BrokerSpeech, speech, spoken } from './broker-bytes.js';
import type { FuzzTarget } from './fuzz.js';
import { split } from './mutation.js';
import { weighted } from './weighted.js';

type Step =
  | { do: 'accept'; lane: Lane; count: number; qos: 0 | 1 | 2; sizeBytes: number }
  | { do: 'connect'; sessionPresent: boolean }
  | { do: 'dial'; says: BrokerSpeech }
  | { do: 'say'; says: BrokerSpeech }
  | { do: 'answer'; count: number }
  | { do: 'pass'; ms: number }
  | { do: 'lose' }
  | { do: 'crash' }
  | { do: 'hold'; isHolding: boolean }
  | { do: 'block'; isWritable: boolean }
  | { do: 'drain' };

export interface PacketsCase {
  version: 4 | 5;
  persistent: boolean;
  firstOffset: number;
  inflightMax: number;
  keepaliveSeconds: number;
  steps: Step[];
  /** Whether the honest broker at the end remembers the session. */
  isKept: boolean;
}

const step: fc.Arbitrary<Step> = weighted<Step>(
  [
    4,
    fc.record({
      do: fc.constant('accept' as const),
      lane: fc.constantFrom<Lane>('command', 'alert', 'telemetry'),
      count: fc.integer({ min: 1, max: 6 }),
      qos: fc.constantFrom<0 | 1 | 2>(0, 1, 1, 2, 2),
      sizeBytes: fc.constantFrom(0, 0, 0, 300),
    }),
  ],
  [5, fc.record({ do: fc.constant('connect' as const), sessionPresent: fc.boolean() })],
  [1, fc.record({ do: fc.constant('dial' as const), says: speech })],
  [8, fc.record({ do: fc.constant('say' as const), says: speech })],
  [3, fc.record({ do: fc.constant('answer' as const), count: fc.integer({ min: 1, max: 8 }) })],
  [2, fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 150, 900, 5000, 31_000) })],
  [1, fc.constant<Step>({ do: 'lose' })],
  [1, fc.constant<Step>({ do: 'crash' })],
  [1, fc.record({ do: fc.constant('hold' as const), isHolding: fc.boolean() })],
  [1, fc.record({ do: fc.constant('block' as const), isWritable: fc.boolean() })],
  [1, fc.constant<Step>({ do: 'drain' })],
);

const story: fc.Arbitrary<PacketsCase> = fc.record({
  version: fc.constantFrom<4 | 5>(4, 5),
  persistent: fc.boolean(),
  firstOffset: fc.constantFrom(0, 0, 57_340, 114_680),
  inflightMax: fc.constantFrom(1, 3, 20, 65_535),
  keepaliveSeconds: fc.constantFrom(0, 0, 10),
  steps: fc
    .array(step, { minLength: 1, maxLength: 16 })
    .map((steps): Step[] => [
      { do: 'accept', lane: 'telemetry', count: 3, qos: 1, sizeBytes: 0 },
      { do: 'connect', sessionPresent: false },
      ...steps,
    ]),
  isKept: fc.boolean(),
});

/** Rounds until everything has arrived at the honest broker; each may pass a second. */
const HONEST_ROUNDS_MAX = 600;

class Story {
  readonly #case: PacketsCase;
  readonly #stage: Stage;
  readonly #accepted: Key[] = [];
  /** What the session ever sent, and what any broker ever acknowledged of it. */
  readonly #published = new Set<Key>();
  readonly #answered = new Set<Key>();
  /** Unanswered packets of this connection. */
  #sent: Packet[] = [];
  #scanner = new AcknowledgementScanner();
  /** Below these, a message may have been sent by a life that has ended. */
  #doubtTo: Record<Lane, number>;
  #eventsSeen = 0;
  /** The last CONNECT asked for the session that there was. */
  #isResuming = false;
  #firstEnd: string | undefined;

  constructor(fuzzCase: PacketsCase) {
    const { version, persistent, firstOffset, inflightMax, keepaliveSeconds } = fuzzCase;
    this.#case = fuzzCase;
    this.#doubtTo = { command: firstOffset, alert: firstOffset, telemetry: firstOffset };
    this.#stage = new Stage({
      protocolVersion: version,
      persistent,
      firstOffset,
      inflightMax,
      keepaliveSeconds,
      ackTimeoutMs: 10_000,
      messageIdProperty: version === 5 ? 'id' : undefined,
      justifies: (lane, offset) => {
        this.#observe();
        return this.#answered.has(keyOf(lane, offset));
      },
    });
    this.#stage.onPingAnswered = (bytes) => this.#acknowledge(this.#scanner.scan(bytes));
  }

  /** Gives what became of it, in a word. */
  run(): string {
    for (const one of this.#case.steps) {
      this.#take(one);
      this.#observe();
      this.#review();
    }
    const isQuiet = this.#firstEnd === undefined;
    this.#finish();
    const quarantined = this.#stage.cache.quarantine.size > 0 ? ', something in quarantine' : '';
    return `${isQuiet ? 'no connection ended' : `first end ${this.#firstEnd}`}${quarantined}`;
  }

  #take(one: Step): void {
    const stage = this.#stage;
    switch (one.do) {
      case 'accept': {
        const { lane, count, qos, sizeBytes } = one;
        const first = stage.cache.nextOffsets[lane];
        for (let i = 0; i < count; i++) {
          const payload = Buffer.from(`${keyOf(lane, first + i)}|`.padEnd(sizeBytes, '.'));
          this.#accepted.push(...stage.accept(lane, 1, { qos, payload }));
        }
        return;
      }
      case 'connect':
        this.#connect({ sessionPresent: one.sessionPresent });
        return;
      case 'dial':
        if (this.#dial()) this.#say(one.says);
        return;
      case 'say':
        this.#say(one.says);
        return;
      case 'answer':
        for (let i = 0; i < one.count; i++) this.#answerOldest();
        return;
      case 'pass':
        stage.pass(one.ms);
        return;
      case 'lose':
        if (stage.session.state !== 'offline') stage.lose();
        return;
      case 'crash':
        for (const lane of LANES) {
          this.#doubtTo[lane] = Math.max(this.#doubtTo[lane], stage.cache.progress.lanes[lane].boundOffset);
        }
        this.#review();
        stage.crash();
        this.#eventsSeen = 0;
        return;
      case 'hold':
        stage.isHoldingSaves = one.isHolding;
        stage.flush();
        return;
      case 'block':
        stage.isWritable = one.isWritable;
        if (one.isWritable) stage.session.drained(stage.nowMs, stage.wallMs);
        stage.flush();
        return;
      case 'drain':
        stage.session.drain(stage.nowMs, stage.wallMs);
        stage.flush();
    }
  }

  #dial(): boolean {
    const stage = this.#stage;
    if (stage.session.state !== 'offline') return false;
    this.#observe();
    this.#sent = [];
    this.#scanner = new AcknowledgementScanner();
    this.#isResuming = stage.connect().clean === false;
    return true;
  }

  #connect({ sessionPresent }: { sessionPresent: boolean }): void {
    if (!this.#dial()) return;
    const code = this.#case.version === 5 ? { reasonCode: 0 } : { returnCode: 0 };
    this.#stage.answer({ cmd: 'connack', sessionPresent, ...code });
  }

  #say(says: BrokerSpeech): void {
    const bytes = spoken(says, (index) => {
      const one = this.#sent[index % Math.max(1, this.#sent.length)];
      return one?.messageId;
    });
    this.#checkReader(bytes, says.cuts);
    for (const piece of split(bytes, says.cuts)) this.#deliver(piece);
  }

  #deliver(bytes: Buffer): void {
    this.#acknowledge(this.#scanner.scan(bytes));
    this.#stage.receive(bytes);
    this.#observe();
  }

  /** Notes whose identifiers these are now. */
  #acknowledge(ids: readonly number[]): void {
    this.#observe();
    for (const id of ids) {
      if (id === 0) continue;
      const key = keyOfPacketId(id, (lane) => this.#stage.cache.progress.lanes[lane].firstUnsettled);
      const { lane, offset } = placeOf(key);
      // What was never sent cannot be acknowledged, whatever the broker says.
      if (this.#published.has(key) || offset < this.#doubtTo[lane]) this.#answered.add(key);
    }
  }

  /** Reads what the session has written. */
  #observe(): void {
    for (const one of this.#stage.sent()) {
      if (one.cmd === 'publish') {
        const key = keyIn(Buffer.from(one.payload));
        this.#published.add(key);
        if (one.qos === 0) this.#answered.add(key);
        else {
          assert.equal(one.messageId, packetIdOf(key));
          this.#sent.push(one);
        }
      } else if (one.cmd === 'pubrel') this.#sent.push(one);
    }
  }

  /** Every end of a connection and every move to quarantine can be explained. */
  #review(): void {
    const { events } = this.#stage;
    for (const event of events.slice(this.#eventsSeen)) {
      if (event.kind === 'quarantined') {
        assert.ok(isErrorCode(event.code) && event.reason.length > 0, `${event.code}: ${event.reason}`);
      } else if (event.kind === 'ended') {
        if (event.error === undefined) continue;
        const { code, message, remedy } = event.error;
        assert.ok(isErrorCode(code) && message.length > 0 && remedy.length > 0, `${code}: ${message}`);
        assert.ok(code !== 'INTERNAL' && ERRORS[code] !== undefined, code);
        this.#firstEnd ??= code;
      }
    }
    this.#eventsSeen = events.length;
  }

  #answerOldest(): void {
    const one = this.#sent.shift();
    if (one === undefined || this.#stage.session.state === 'offline') return;
    const { version } = this.#case;
    this.#deliver(mqttPacket.generate(answerTo(one, version), { protocolVersion: version }));
  }

  /** From now on the broker does everything right, and so do disk and network. */
  #finish(): void {
    const stage = this.#stage;
    stage.isHoldingSaves = false;
    stage.isWritable = true;
    stage.flush();
    if (stage.session.state !== 'offline') stage.lose();
    // A broker that has a session gives it to whoever asks for it; one without has none until the first connection.
    let hasSession = this.#case.isKept;
    for (let round = 0; !this.#isDone(); round++) {
      if (round >= HONEST_ROUNDS_MAX) assert.fail(`An honest broker does not get everything: ${this.#describe()}`);
      if (stage.session.state === 'offline') {
        if (!this.#dial()) return;
        // The same broker as before: a clean start ends what it had.
        const present = hasSession && this.#isResuming;
        hasSession = this.#case.persistent;
        const code = this.#case.version === 5 ? { reasonCode: 0 } : { returnCode: 0 };
        stage.answer({ cmd: 'connack', sessionPresent: present, ...code });
        this.#observe();
        continue;
      }
      if (this.#sent.length === 0) stage.pass(1000);
      this.#observe();
      while (this.#sent.length > 0) this.#answerOldest();
    }
    this.#review();
    for (const key of this.#accepted) {
      const isKept = this.#answered.has(key) || stage.cache.quarantine.has(key);
      assert.ok(isKept, `${key} is gone: no broker has it, and it is not in quarantine.`);
    }
    assert.equal(stage.session.inflight, 0);
  }

  #isDone(): boolean {
    const { cache, session } = this.#stage;
    const isSettled = this.#accepted.every((key) => {
      const { lane, offset } = placeOf(key);
      return cache.isSettled(lane, offset);
    });
    return isSettled && session.inflight === 0 && !session.hasUnsaved;
  }

  #describe(): string {
    const { cache, session } = this.#stage;
    const missing = this.#accepted.filter((key) => {
      const { lane, offset } = placeOf(key);
      return !cache.isSettled(lane, offset);
    });
    return JSON.stringify({ missing, state: session.state, inflight: session.inflight, progress: cache.progress });
  }

  /** The same bytes to a reader of their own: the same is read of them however they are cut, and it never throws. */
  #checkReader(bytes: Buffer, cuts: readonly number[]): void {
    const whole = readChunks(this.#case.version, [bytes]).reads;
    const places = whole.flatMap((read, i) => (read.kind === 'malformed' ? [i] : []));
    assert.ok(places.length === 0 || (places.length === 1 && places[0] === whole.length - 1));
    for (const read of whole) {
      if (read.kind === 'acknowledged')
        assert.ok(read.id > 0 && read.id <= 65_535 && read.code >= 0 && read.code <= 255);
    }
    // What is acknowledged is what stands in the bytes, up to where they are no MQTT.
    const found = whole.flatMap((read) => (read.kind === 'acknowledged' ? [read.id] : []));
    const there = new AcknowledgementScanner().scan(bytes);
    assert.deepEqual(found, places.length === 0 ? there : there.slice(0, found.length));
    const cut = readChunks(this.#case.version, split(bytes, cuts)).reads;
    assert.equal(comparable(cut), comparable(whole));
  }
}

/** Without the payloads of PUBLISH packets: they are views of bytes that are only there during the call. */
function comparable(reads: readonly Read[]): string {
  return JSON.stringify(reads, (key, value: unknown) => (key === 'payload' ? undefined : value));
}

function answerTo(one: Packet, version: 4 | 5): Packet {
  const code = version === 5 ? { reasonCode: 0 } : {};
  const id = one.messageId === undefined ? {} : { messageId: one.messageId };
  if (one.cmd === 'pubrel') return { cmd: 'pubcomp', ...id, ...code };
  return { cmd: (one as IPublishPacket).qos === 2 ? 'pubrec' : 'puback', ...id, ...code };
}

export const packets: FuzzTarget<PacketsCase> = {
  name: 'packets',
  open: () => ({
    cases: story,
    check: (fuzzCase) => new Story(fuzzCase).run(),
  }),
};

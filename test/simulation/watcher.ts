/**
 * Watches what one client writes and what reaches it, and writes down every breach of the rules that DESIGN calls "Rules
 * on the wire". It knows what is stored, because most of the rules are about that.
 */
import type { Lane } from '../../src/core/lane.js';
import type { Grant } from './broker-traits.js';
import type { Expectations } from './expectations.js';
import { type Key, keyOf, keyOfPacketId, packetIdOf, placeOf, rangeSizeOf } from './key.js';
import { LanePriority } from './lane-priority.js';
import {
  CONNACK,
  CONNECT,
  PacketStream,
  PINGREQ,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  type SeenPacket,
} from './packet-stream.js';
import type { Place, Places } from './places.js';
import type { StoredProgress } from './stored-progress.js';

/** What is known of one connection. */
interface WatchedConnection {
  out: PacketStream;
  in: PacketStream;
  protocolVersion: 4 | 5;
  host: string;
  isConnected: boolean;
  isWipe: boolean;
  sessionPresent: boolean;
  receiveMaximum: number;
  /** Identifiers that count against the broker's quota. */
  open: Set<number>;
  lastOffset: Map<Lane, number>;
  lastReceivedOrder: number;
  hasPublished: boolean;
  /** Messages that were known to be received when the connection began: their PUBRELs come before any PUBLISH. */
  dueReleases: Set<Key>;
  /** Identifiers whose PUBREL was sent. */
  released: Set<number>;
  /** PUBRECs that belonged to nothing, by identifier: each may be answered once. */
  unaskedPubrecs: Map<number, number>;
}

export interface WatcherOptions {
  stored: StoredProgress;
  places: Places;
  expectations: Expectations;
  isPersistent: boolean;
  nowMs: () => number;
  /** Reading a message and raising its bound take no longer. */
  patienceMs: () => number;
}

export class Watcher {
  readonly problems: string[] = [];
  /** Counts the sessions that the broker has said to be new. */
  epoch = 0;
  /** Messages sent so far, in any life. */
  readonly sent = new Set<Key>();
  /** Those of them that were sent at a QoS which the broker has to answer. */
  readonly sentToBeAnswered = new Set<Key>();
  /** Messages that the broker refused at least once: they may come out of order. */
  readonly refused = new Set<Key>();
  /** PUBLISHes of messages that had been sent in an older session of the broker. */
  repeatedInNewSession = 0;
  /** Messages that were first sent at a higher QoS, and then at QoS 0, because the broker has come to take no more. */
  readonly capped = new Set<Key>();
  pingCount = 0;
  publishCount = 0;
  writtenSizeBytes = 0;
  /** What was too much for the broker, so far. */
  overruns: readonly string[] = [];
  readonly #stored: StoredProgress;
  readonly #places: Places;
  readonly #isPersistent: boolean;
  #connection: WatchedConnection | undefined;
  /** Messages whose exchange ended with an answer that this life of the client has seen, and when. */
  readonly #finished = new Map<Key, number>();
  /** Messages whose PUBREC this life knows to be stored. */
  #knownReceived = new Set<Key>();
  /** Messages sent in the present session and not refused since. */
  #sentInSession = new Set<Key>();
  /** Messages that were refused and not sent since. */
  readonly #ended = new Set<Key>();
  /** What the bound was when this life began: below it the client cannot know what was sent. */
  #bounds: Record<Lane, number>;
  #isIdentityDue = false;
  /** The broker that a session was wiped out at, on the last connection that was accepted. */
  #wipedHost: string | undefined;
  /** What each message was first sent as, without DUP. */
  readonly #bytes = new Map<Key, Buffer>();
  /** A new process counts the rest of a message's life anew. */
  readonly #sentInLife = new Set<Key>();
  readonly priority: LanePriority;
  readonly #expectations: Expectations;
  readonly #nowMs: () => number;

  constructor(options: WatcherOptions) {
    const { stored, places, expectations, isPersistent, nowMs } = options;
    this.#stored = stored;
    this.#places = places;
    this.#expectations = expectations;
    this.#isPersistent = isPersistent;
    this.#nowMs = nowMs;
    this.#bounds = this.#boundsNow();
    this.priority = new LanePriority({
      stored,
      nowMs,
      patienceMs: options.patienceMs,
      sent: this.sent,
      refused: this.refused,
      qosOf: (lane, offset) => expectations.qosInTurn(lane, offset),
    });
  }

  /** A new process: it knows what is stored and nothing else. */
  restarted(): void {
    this.#connection = undefined;
    this.#finished.clear();
    this.#sentInLife.clear();
    this.#knownReceived = this.#storedReceived();
    this.#bounds = this.#boundsNow();
    this.#isIdentityDue = false;
    // A process does not know that the one before it was about to begin anew, and takes what it finds.
    this.#wipedHost = undefined;
    this.priority.restarted();
  }

  /** @param host names the broker. */
  connected(protocolVersion: 4 | 5, host: string, { receiveMaximum = 65_535, maximumQos }: Grant): void {
    if (maximumQos < 2) this.#stored.isQosLowered = true;
    if (host !== this.#wipedHost) this.#wipedHost = undefined;
    this.#connection = {
      out: new PacketStream(protocolVersion),
      in: new PacketStream(protocolVersion),
      protocolVersion,
      host,
      isConnected: false,
      isWipe: false,
      sessionPresent: false,
      receiveMaximum: protocolVersion === 5 ? receiveMaximum : 65_535,
      open: new Set(),
      lastOffset: new Map(),
      lastReceivedOrder: -1,
      hasPublished: false,
      dueReleases: new Set(),
      released: new Set(),
      unaskedPubrecs: new Map(),
    };
  }

  disconnected(): void {
    this.#connection = undefined;
  }

  committed(hasIdentity: boolean): void {
    if (hasIdentity) this.#isIdentityDue = false;
  }

  /** The client was told that what it had last asked for is stored. */
  told(): void {
    this.priority.told();
  }

  /** The client was told that a save is stored which had these PUBRECs in it. */
  confirmed(received: ReadonlySet<Key>): void {
    for (const key of received) this.#knownReceived.add(key);
  }

  /** Messages whose exchange has ended in this life of the client before this time, and whose settlement is not stored. */
  unsettled(untilMs = Number.POSITIVE_INFINITY): Key[] {
    const keys: Key[] = [];
    for (const [key, finishedMs] of this.#finished) {
      const { lane, offset } = placeOf(key);
      if (this.#stored.isSettled(lane, offset)) this.#finished.set(key, Number.POSITIVE_INFINITY);
      else if (finishedMs < untilMs) keys.push(key);
    }
    return keys;
  }

  #storedReceived(): Set<Key> {
    const keys = new Set<Key>();
    for (const { lane, from, to } of this.#stored.progress.received) {
      for (let offset = from; offset < to; offset++) {
        // An open exchange of what is in quarantine is ended when there is time for it.
        if (!this.#stored.isSettled(lane, offset)) keys.add(`${lane.charAt(0)}${offset}`);
      }
    }
    return keys;
  }

  #boundsNow(): Record<Lane, number> {
    const { command, alert, telemetry } = this.#stored.progress.lanes;
    return { command: command.boundOffset, alert: alert.boundOffset, telemetry: telemetry.boundOffset };
  }

  wrote(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === undefined) {
      this.problems.push('Bytes were written without a connection.');
      return;
    }
    this.writtenSizeBytes += bytes.length;
    for (const packet of connection.out.read(bytes)) {
      // A lasting session asks for a clean start only to wipe out what an unknown life has left.
      if (packet.type === CONNECT) connection.isWipe = this.#isPersistent && (packet.bytes[9]! & 2) !== 0;
      else if (packet.type === PUBLISH) this.#published(connection, packet);
      else if (packet.type === PUBREL) this.#released(connection, packet);
      else if (packet.type === PINGREQ) this.pingCount++;
    }
  }

  /** A message that was stored once more, because its producer's key was kept for its time, has two places. */
  #placeOf(name: Key, packetId: number): Place | undefined {
    const places = this.#places.originsOf(name);
    const isMeant = ({ lane, offset }: Place): boolean =>
      packetId === 0 ? !this.#stored.isSettled(lane, offset) : packetIdOf(keyOf(lane, offset)) === packetId;
    return (places.length > 1 ? places.find(isMeant) : undefined) ?? this.#places.of(name);
  }

  #published(connection: WatchedConnection, packet: SeenPacket): void {
    const name = packet.key ?? '';
    const place = this.#placeOf(name, packet.packetId);
    if (place === undefined) {
      this.problems.push(`PUBLISH of ${name}, which is not stored.`);
      return;
    }
    const { lane, offset } = place;
    const key = keyOf(lane, offset);
    const breach = (text: string): void => {
      this.problems.push(`PUBLISH of ${key}: ${text}.`);
    };
    this.publishCount++;
    const isFirst = !connection.hasPublished;
    connection.hasPublished = true;
    if (!connection.isConnected) breach('before CONNACK');
    if (connection.isWipe) breach('in a session that began with a clean start and is to last');
    if (this.#isIdentityDue) breach('before it is stored whose session it is');
    const progress = this.#stored.progress.lanes[lane];
    if (offset >= progress.boundOffset) breach(`beyond the stored bound ${progress.boundOffset}`);
    if (offset >= progress.firstUnsettled + rangeSizeOf(lane)) breach('its identifier is not free');
    if (this.#stored.isSettled(lane, offset)) breach('it is settled');
    const last = connection.lastOffset.get(lane) ?? -1;
    if (offset <= last && !this.refused.has(key)) breach(`after offset ${last}`);
    // While the broker is full with what nobody knows, a connection begins with one message that may have made it so.
    const isCandidate = isFirst && this.overruns.length > 0;
    if (!isCandidate) connection.lastOffset.set(lane, Math.max(last, offset));
    const isRepeated = this.sent.has(key);
    if (!isRepeated && offset >= this.#bounds[lane]) {
      const before = this.priority.waitingBefore(lane, packet.qos, (one) => connection.lastOffset.get(one) ?? -1);
      if (before !== undefined) breach(`before ${before} of a higher lane`);
    }
    this.sent.add(key);
    if (packet.qos === 0) {
      if (this.sentToBeAnswered.has(key)) this.capped.add(key);
      return;
    }
    this.sentToBeAnswered.add(key);
    if (isRepeated && !this.#sentInSession.has(key) && !this.#ended.has(key)) this.repeatedInNewSession++;
    this.#ended.delete(key);
    if (this.#finished.has(key)) breach('its exchange is finished');
    if (packet.packetId !== packetIdOf(key)) breach(`with identifier ${packet.packetId}`);
    if (connection.open.has(packet.packetId)) breach('again on the same connection');
    connection.open.add(packet.packetId);
    if (connection.open.size > connection.receiveMaximum) breach(`${connection.open.size} are in flight`);
    if (connection.sessionPresent && this.#knownReceived.has(key)) breach('its PUBREC is stored');
    const isUnsure = offset < this.#bounds[lane];
    if (packet.isDuplicate && !this.#sentInSession.has(key) && !isUnsure) breach('with DUP, for the first time');
    if (!packet.isDuplicate && this.#sentInSession.has(key)) breach('without DUP, not for the first time');
    this.#sentInSession.add(key);
    this.#compareBytes(connection, packet, key, breach);
  }

  #compareBytes(
    { protocolVersion }: WatchedConnection,
    packet: SeenPacket,
    key: Key,
    breach: (text: string) => void,
  ): void {
    const { lane, offset } = placeOf(key);
    const former = this.#bytes.get(key);
    const isNewLife = !this.#sentInLife.has(key);
    this.#sentInLife.add(key);
    const isCounted = isNewLife && this.#expectations.expires(key);
    const left = isCounted && protocolVersion === 5 ? this.#expectations.lifeLeftOf(lane, offset) : undefined;
    const { expirySeconds = 0 } = packet;
    if (left !== undefined && (expirySeconds < left.leastSeconds || expirySeconds > left.mostSeconds)) {
      breach(`with ${expirySeconds} s to live; ${left.leastSeconds} to ${left.mostSeconds} s are left`);
    }
    if (former === undefined || isCounted) this.#bytes.set(key, packet.bytes);
    else if (!isSameButFlags(former, packet.bytes, this.#expectations.flagsThatMayChange)) {
      breach('with other bytes than before');
    }
  }

  #released(connection: WatchedConnection, packet: SeenPacket): void {
    const key = keyOfPacketId(packet.packetId, (lane) => this.#stored.progress.lanes[lane].firstUnsettled);
    const { lane, offset } = placeOf(key);
    const breach = (text: string): void => {
      this.problems.push(`PUBREL of ${key}: ${text}.`);
    };
    // An exchange that was left open is ended, so that its identifier is free for another one.
    const isOver = (of: number): boolean => this.#stored.isLeftOpen(lane, of);
    if (isOver(offset) || (isOver(offset - rangeSizeOf(lane)) && !this.#stored.isReceived(lane, offset))) return;
    if (!this.#stored.isReceived(lane, offset) || this.#finished.has(key)) {
      // A PUBREC that belongs to nothing is answered, so that the broker forgets its identifier [MQTT-4.3.3-4].
      const unasked = connection.unaskedPubrecs.get(packet.packetId) ?? 0;
      // What went to quarantine in the middle of its exchange may be held: the broker is made to forget it.
      const former = keyOf(lane, offset - rangeSizeOf(lane));
      if (this.#stored.quarantine.has(key) || this.#stored.quarantine.has(former)) return;
      if (unasked === 0) breach('its PUBREC is not stored');
      connection.unaskedPubrecs.set(packet.packetId, unasked - 1);
      return;
    }
    if (connection.hasPublished && connection.dueReleases.has(key)) breach('after a PUBLISH');
    const order = this.#stored.receivedOrder.get(key) ?? -1;
    if (order <= connection.lastReceivedOrder) breach('not in the order of the PUBRECs');
    connection.lastReceivedOrder = order;
    connection.open.add(packet.packetId);
    connection.released.add(packet.packetId);
  }

  /** Bytes reach the client; called before the client sees them. */
  reached(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    for (const packet of connection.in.read(bytes)) {
      if (packet.type === CONNACK) this.#accepted(connection, packet);
      else if (packet.type === PUBACK || packet.type === PUBREC || packet.type === PUBCOMP) {
        this.#acknowledged(connection, packet);
      }
    }
  }

  #accepted(connection: WatchedConnection, packet: SeenPacket): void {
    if (packet.reasonCode !== 0) return;
    connection.isConnected = true;
    this.priority.connected();
    // A session that was wiped out is a new one, whatever the CONNACK says: one before it may have been lost.
    const isKept = packet.sessionPresent && connection.host !== this.#wipedHost;
    connection.sessionPresent = isKept;
    this.#wipedHost = connection.isWipe ? connection.host : undefined;
    if (isKept) {
      connection.dueReleases = new Set(this.#knownReceived);
      return;
    }
    // Which session goes on shows with the next connection: it may be that of another broker.
    if (connection.isWipe) return;
    this.epoch++;
    this.#sentInSession.clear();
    this.#knownReceived.clear();
    if (this.#isPersistent) this.#isIdentityDue = true;
  }

  #acknowledged(connection: WatchedConnection, packet: SeenPacket): void {
    const { packetId, reasonCode } = packet;
    const key = keyOfPacketId(packetId, (lane) => this.#stored.progress.lanes[lane].firstUnsettled);
    const isUnasked = !this.#sentInSession.has(key) || this.#finished.has(key);
    if (isUnasked && packet.type === PUBREC) {
      connection.unaskedPubrecs.set(packetId, (connection.unaskedPubrecs.get(packetId) ?? 0) + 1);
    }
    if (!this.#sentInSession.has(key) && packet.type !== PUBCOMP) return;
    // "Packet identifier in use" says that the broker has the message: it is no refusal.
    if (reasonCode === 0x91) return;
    if (reasonCode >= 0x80 && packet.type !== PUBCOMP) {
      this.refused.add(key);
      this.#ended.add(key);
      this.#sentInSession.delete(key);
      // The next PUBLISH is a new one; what is left of the message's life is counted again.
      this.#sentInLife.delete(key);
      connection.open.delete(packetId);
      return;
    }
    if (packet.type === PUBREC) return;
    // A PUBCOMP without a PUBREL ends nothing.
    if (packet.type === PUBCOMP && !connection.released.delete(packetId)) return;
    if (!connection.open.delete(packetId)) return;
    this.#finished.set(key, this.#nowMs());
    this.#knownReceived.delete(key);
  }
}

/** Byte for byte, but for some of the flags of the first. */
function isSameButFlags(one: Buffer, other: Buffer, flags: number): boolean {
  return (one[0]! & ~flags) === (other[0]! & ~flags) && one.subarray(1).equals(other.subarray(1));
}

/**
 * From CONNECT to what its CONNACK means: whose session it is that the broker has, and on which terms we may publish.
 */
import type { IConnackPacket } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import type { SessionIdentity } from '../core/progress.js';
import { type ConnackGrant, connackProblem, encodeConnect, grantOf, type Will } from '../wire/control-packets.js';
import { PublishEncoder } from '../wire/publish-encoder.js';
import { connackError } from './connect-error.js';
import type { ConnectionTerms } from './sender.js';
import { Window } from './window.js';

/**
 * A 3.1.1 broker cannot say how much it takes, and no answer says that it was too much: Mosquitto takes 20 messages at
 * QoS 2, acknowledges one more like the others, and drops it.
 */
const UNANNOUNCED_QUOTA = 20;

/** Up to here a new process sends the first messages of each lane one at a time. */
const SMALL_QUOTA_MAX = 100;

export interface HandshakeOptions {
  cacheId: string;
  clientId: string;
  persistent: boolean;
  sessionExpirySeconds: number;
  keepaliveSeconds: number;
  username: string | undefined;
  password: string | undefined;
  will: Will | undefined;
  inflightMax: number;
  messageIdProperty: string | undefined;
}

export type HandshakeOutcome =
  | { kind: 'refused'; error: NorthError }
  /** The broker's session is not ours, or was just wiped: one more connection is to be opened at once. */
  | { kind: 'redial' }
  | {
      kind: 'accepted';
      grant: ConnackGrant;
      terms: ConnectionTerms;
      /** Whose session a new one is; null: nobody's, because it does not last. */
      identity: SessionIdentity | null;
      /** We had asked for our session, and the broker has none. */
      isSessionLost: boolean;
    };

export class Handshake {
  readonly #options: HandshakeOptions;
  #broker = '';
  #protocolVersion: 4 | 5 = 5;
  #cleanStart = true;
  #mustStartClean = false;
  #isWipe = false;
  /** The connection before this one has wiped out what the broker had of our client id. */
  #wasWiped = false;
  #isKnown = false;

  constructor(options: HandshakeOptions) {
    this.#options = options;
  }

  /** What the broker has of our client id is to be wiped out before the next session begins. */
  startClean(): void {
    this.#mustStartClean = true;
    this.#wasWiped = false;
  }

  /**
   * True when what this broker has of our client id is to be wiped out, and it is not on disk yet that our session is no
   * longer there: after a crash, a new and empty one would be taken for it.
   */
  mustWait(broker: string, stored: SessionIdentity | undefined): boolean {
    if (!this.#mustStartClean || broker !== this.#broker) return false;
    return stored?.broker === broker && stored.clientId === this.#options.clientId;
  }

  /**
   * Gives the CONNECT for a new connection.
   *
   * @param broker names the one whose memory the session is in.
   * @param present whose session it is that the slots speak of, or undefined.
   */
  begin(broker: string, protocolVersion: 4 | 5, present: SessionIdentity | undefined): Uint8Array {
    const { clientId, persistent } = this.#options;
    if (broker !== this.#broker) {
      this.#wasWiped = false;
      this.#mustStartClean = false;
    }
    this.#broker = broker;
    this.#protocolVersion = protocolVersion;
    // A lasting session never begins with a clean start: under MQTT 3.1.1 it would end with its connection, and under
    // MQTT 5 Mosquitto does not save it, so that it is gone after a restart of the broker. What an unknown life has left
    // behind is wiped out first, by a connection of its own [MQTT 3.1.1 §3.1.2.4].
    this.#isWipe = persistent && this.#mustStartClean;
    this.#cleanStart = !persistent || this.#isWipe || clientId === '';
    this.#isKnown = present?.broker === broker && present.clientId === clientId;
    return encodeConnect({
      protocolVersion,
      clientId,
      cleanStart: this.#cleanStart,
      sessionExpirySeconds: this.#cleanStart ? 0 : this.#options.sessionExpirySeconds,
      keepaliveSeconds: this.#options.keepaliveSeconds,
      username: this.#options.username,
      password: this.#options.password,
      will: this.#options.will,
    });
  }

  judge(packet: IConnackPacket): HandshakeOutcome {
    const refused = connackError(packet, this.#protocolVersion);
    if (refused !== undefined) return { kind: 'refused', error: refused };
    const problem = connackProblem(packet);
    if (problem !== undefined) return breach(`The CONNACK of the broker cannot be used: ${problem}.`);
    const grant = grantOf(packet);
    if (grant.sessionPresent && this.#cleanStart) {
      return breach('The broker kept a session although a clean start was asked for.');
    }
    if (this.#isWipe) {
      this.#wasWiped = true;
      this.#mustStartClean = false;
      return { kind: 'redial' };
    }
    if (grant.sessionPresent && (!this.#isKnown || this.#wasWiped)) {
      // The broker holds packet identifiers of a life that we know nothing of [MQTT-3.2.2-4].
      if (!this.#wasWiped) {
        this.#mustStartClean = true;
        return { kind: 'redial' };
      }
      // Some say that there is a session whenever no clean one was asked for (ThingsBoard): nothing can be left in it.
      grant.sessionPresent = false;
    }
    this.#wasWiped = false;
    this.#mustStartClean = false;
    const clientId = grant.assignedClientId ?? this.#options.clientId;
    const identity = this.#options.persistent ? { broker: this.#broker, clientId } : null;
    const isSessionLost = this.#isKnown && !this.#cleanStart && !grant.sessionPresent;
    return { kind: 'accepted', grant, terms: this.#termsOf(grant), identity, isSessionLost };
  }

  #termsOf(grant: ConnackGrant): ConnectionTerms {
    const protocolVersion = this.#protocolVersion;
    const limit = Math.min(grant.receiveMaximum, this.#options.inflightMax);
    const quota = protocolVersion === 4 ? UNANNOUNCED_QUOTA : grant.receiveMaximum;
    const isSmall = quota <= SMALL_QUOTA_MAX;
    return {
      encoder: new PublishEncoder({
        protocolVersion,
        maximumQos: grant.maximumQos,
        retainAvailable: grant.retainAvailable,
        cacheId: this.#options.cacheId,
        messageIdProperty: this.#options.messageIdProperty,
      }),
      protocolVersion,
      window: new Window(limit),
      packetSizeMaxBytes: grant.maximumPacketSizeBytes,
      qos2WindowMax: Math.min(limit, qos2WindowOf(quota)),
      heldMax: isSmall && grant.sessionPresent ? quota : 0,
      unsureWindowMax: isSmall ? limit : Math.floor(quota / 4),
    };
  }
}

/**
 * So many messages of QoS 2 are in flight at most. The other places of the broker's quota are for what a new process sends
 * while the broker still holds what the former one had in flight: what is too much is refused, dropped, or ends the
 * connection, and has lost its place in the order in any case.
 */
function qos2WindowOf(quota: number): number {
  if (quota > SMALL_QUOTA_MAX) return Math.floor((quota * 3) / 4);
  return Math.max(1, quota >= 16 ? quota - 4 : quota - 1);
}

function breach(text: string): HandshakeOutcome {
  return { kind: 'refused', error: new NorthError('BROKER_PROTOCOL', text) };
}

/**
 * Recognises another client with our client id where the broker does not name it.
 *
 * MQTT 5 says it: DISCONNECT with 0x8E. Under MQTT 3.1.1 a broker only closes the older of two connections with the same
 * client id [MQTT-3.1.4-2], and two clients that come back at once throw each other out for ever. From here that looks
 * like this: the broker accepts us, closes the connection in order within seconds, whether anything is in flight or not,
 * and does the same the next time, when something else is.
 *
 * Other causes look different. A message that a broker cannot bear is in flight each time that it closes, and is not
 * acknowledged meanwhile; one of QoS 0 went out last. A network that fails resets or is silent. A broker that restarts
 * refuses to be dialled in between.
 */
import { NorthError } from '../core/error.js';
import type { Lane } from '../core/lane.js';

/** A connection that lasted as long was not thrown out by somebody who came back at once. */
const SHORT_LIFE_MS = 15_000;
const SHORT_LIVES_UNTIL_SUSPECT = 3;

/** How a connection stood when it ended. */
export interface ConnectionEnd {
  /** The broker closed it in order and gave no reason. */
  isClosedByBroker: boolean;
  /** Nothing that was sent can be why. */
  isIdle: boolean;
  /** On this connection something was acknowledged, and nothing went out after it at QoS 0. */
  isAnswered: boolean;
  /** Per lane, from the first message that is not done to one past the last that was sent. */
  unsettled: readonly { lane: Lane; from: number; to: number }[];
}

export class Takeover {
  readonly #clientId: string;
  #acceptedMs = 0;
  /** Short lives in a row that ended with nothing in flight. */
  #idleLives = 0;
  /** Short lives that ended with something in flight, each time something else; all that was before is acknowledged. */
  #busyLives = 0;
  #unsettledBefore: ConnectionEnd['unsettled'] = [];

  constructor(clientId: string) {
    this.#clientId = clientId;
  }

  /** The broker has accepted us. */
  accepted(nowMs: number): void {
    this.#acceptedMs = nowMs;
  }

  /** A dial or a handshake has failed, which no other client can bring about. */
  dialFailed(): void {
    this.#idleLives = 0;
    this.#busyLives = 0;
  }

  /**
   * A connection that had been accepted has ended. Gives the reason to act on: another client, or the one given.
   *
   * An end that is neither idle nor answered speaks neither for another client nor against it, because a connection may
   * be thrown out before the first acknowledgement just as well.
   */
  ended(error: NorthError, end: ConnectionEnd, nowMs: number): NorthError {
    const isRepeated = this.#isRepeated(end);
    this.#unsettledBefore = end.unsettled;
    if (nowMs - this.#acceptedMs >= SHORT_LIFE_MS) {
      this.#idleLives = 0;
      this.#busyLives = 0;
      return error;
    }
    // Whatever is in flight again may well be why; and where a line fails now and then, it is rather the line, or a
    // broker that is restarted.
    if (isRepeated || !end.isClosedByBroker) this.#busyLives = 0;
    if (!end.isClosedByBroker) return error;
    if (end.isIdle) this.#idleLives++;
    else if (end.isAnswered && !isRepeated) this.#busyLives++;
    else return error;
    if (this.#idleLives + this.#busyLives < SHORT_LIVES_UNTIL_SUSPECT) return error;
    const text =
      `The broker accepts us and closes the connection soon after, again and again, and no message is to blame: ` +
      `another client seems to use the client id "${this.#clientId}".`;
    return new NorthError('CLIENT_ID_TAKEN', text, { cause: error });
  }

  /** Something is unsettled that was unsettled when the connection before this one ended. */
  #isRepeated({ unsettled }: ConnectionEnd): boolean {
    return unsettled.some(({ lane, from, to }) =>
      this.#unsettledBefore.some((before) => before.lane === lane && from < before.to && before.from < to),
    );
  }
}

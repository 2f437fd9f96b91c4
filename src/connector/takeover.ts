/**
 * Recognises another client with our client id where the broker does not name it.
 *
 * MQTT 5 says it: DISCONNECT with 0x8E. Under MQTT 3.1.1 a broker only closes the older of two connections with the same
 * client id [MQTT-3.1.4-2], and two clients that come back at once throw each other out for ever. From here that looks
 * like this: the broker accepts us, closes the connection in order within seconds while nothing is in flight, and does
 * the same the next time. Other causes look different: a message that a broker cannot bear is in flight when it closes, a
 * network that fails resets or is silent, and a broker that restarts refuses to be dialled in between.
 */
import { NorthError } from '../core/error.js';

/** A connection that lasted as long was not thrown out by somebody who came back at once. */
const SHORT_LIFE_MS = 15_000;
const SHORT_LIVES_UNTIL_SUSPECT = 3;

export class Takeover {
  readonly #clientId: string;
  #acceptedMs = 0;
  #shortLives = 0;

  constructor(clientId: string) {
    this.#clientId = clientId;
  }

  /** The broker has accepted us. */
  accepted(nowMs: number): void {
    this.#acceptedMs = nowMs;
  }

  /** A dial or a handshake has failed, which no other client can bring about. */
  dialFailed(): void {
    this.#shortLives = 0;
  }

  /**
   * A connection that had been accepted has ended. Gives the reason to act on: another client, or the one given.
   *
   * @param wasClosedIdle the broker closed it in order, without a reason, and nothing was in flight. Another end neither
   *   speaks for another client nor against it, because a busy connection may be thrown out just as well.
   */
  ended(error: NorthError, wasClosedIdle: boolean, nowMs: number): NorthError {
    if (nowMs - this.#acceptedMs >= SHORT_LIFE_MS) this.#shortLives = 0;
    else if (wasClosedIdle) this.#shortLives++;
    if (!wasClosedIdle || this.#shortLives < SHORT_LIVES_UNTIL_SUSPECT) return error;
    const text =
      `The broker accepts us and closes the connection soon after, again and again, with nothing in flight: ` +
      `another client seems to use the client id "${this.#clientId}".`;
    return new NorthError('CLIENT_ID_TAKEN', text, { cause: error });
  }
}

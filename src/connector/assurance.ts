/** What delivery the present broker allows, from its grant and from what it was seen to do with messages of QoS 2. */
import type { ConnectionSettings } from '../config/settings.js';
import { NorthError } from '../core/error.js';
import type { ConnectorStatus, Grant } from './connector.js';
import { guaranteeText } from './description.js';
import type { ConnectionGrant } from './link-state.js';

const QOS2_REFUSED_TEXT =
  'The broker closes the connection at every message of QoS 2 and has never taken one. They are kept; nothing is lost.';

export class Assurance {
  readonly #settings: ConnectionSettings;
  readonly #isQos2Proven: () => boolean;
  #grant: Grant | undefined;
  #isSessionLost = false;
  #isInDoubt = false;
  #isDowngraded = false;
  #refusal: ConnectorStatus['lastError'];

  /** @param isQos2Proven whether the broker has taken a message of QoS 2 as such. */
  constructor(settings: ConnectionSettings, isQos2Proven: () => boolean) {
    this.#settings = settings;
    this.#isQos2Proven = isQos2Proven;
  }

  granted(grant: Grant, { isSessionLost, isInDoubt }: Pick<ConnectionGrant, 'isSessionLost' | 'isInDoubt'>): void {
    this.#grant = grant;
    this.#isSessionLost = isSessionLost;
    this.#isInDoubt = isInDoubt;
    this.#isDowngraded = false;
  }

  /** It has acknowledged QoS 2 as QoS 1. Gives false when that is known already. */
  downgraded(): boolean {
    const isNew = !this.#isDowngraded;
    this.#isDowngraded = true;
    return isNew;
  }

  /** It closes at every message of QoS 2. Gives the error to tell, or undefined when it was told. */
  qos2Refused(atMs: number): NorthError | undefined {
    if (this.refusal !== undefined) return undefined;
    const error = new NorthError('QOS2_REFUSED', QOS2_REFUSED_TEXT);
    this.#refusal = { ...error.toJSON(), atMs };
    return error;
  }

  /** That it takes no message of QoS 2, until it has taken one. Over connections: each of them ends at the next message. */
  get refusal(): ConnectorStatus['lastError'] {
    return this.#isQos2Proven() ? undefined : this.#refusal;
  }

  /** In words, once there was a connection. */
  get guarantee(): string | undefined {
    if (this.#grant === undefined) return undefined;
    const { qos, persistent, sessionExpiryInterval } = this.#settings;
    return guaranteeText(
      {
        qos,
        persistent,
        sessionExpirySeconds: sessionExpiryInterval,
        isDowngraded: this.#isDowngraded,
        isSessionLost: this.#isSessionLost,
        isInDoubt: this.#isInDoubt,
        isQos2Proven: this.#isQos2Proven(),
      },
      this.#grant,
    );
  }
}

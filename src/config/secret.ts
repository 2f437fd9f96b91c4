/**
 * A password, passphrase or token. It shows itself only to who asks by name: printing, logging, serialising or
 * cloning it gives `[redacted]` or nothing, so that no log line or API answer can leak it by accident.
 */
import { inspect } from 'node:util';
import { z } from 'zod';

export const REDACTED = '[redacted]';

/** A longer password would make a CONNECT that no broker can read [MQTT 5.0 §1.5.6]. */
const SIZE_MAX_BYTES = 65_535;

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The secret itself. Never put the result into a message, a log or an object that is kept. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** An option whose value is a secret: given as `${ENV}`, `file:/path`, `secret:NAME` or, with a warning, in plain. */
export function secret() {
  return z
    .string()
    .min(1)
    .refine((value) => Buffer.byteLength(value) <= SIZE_MAX_BYTES, {
      error: `must be at most ${SIZE_MAX_BYTES} bytes long`,
    })
    .refine((value) => value !== REDACTED, { error: 'is the placeholder of a secret, not the secret' })
    .meta({ writeOnly: true })
    .transform((value) => new Secret(value));
}

/** An option that names a file or folder; a relative one counts from the folder of the configuration file. */
export function filePath() {
  return z.string().min(1).meta({ 'x-path': true });
}

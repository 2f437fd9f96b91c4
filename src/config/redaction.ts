/** Configurations without their secrets, for API answers, diagnostics and logs. */
import { isReference } from './reference.js';
import { REDACTED, Secret } from './secret.js';
import { isRecord, mapTexts, type Shape } from './shape.js';

/** A shorter secret would blank out unrelated text, and is found by trying anyway. */
const SCRUBBED_LENGTH_MIN = 6;

/**
 * A plain copy of a parsed configuration, or of a part of one, in which no secret is left: neither in its own field
 * nor where its text was repeated in another, as `${PASSWORD}` in a description would do.
 */
export function redactConfig(config: unknown): unknown {
  const secrets = new Set<string>();
  collectSecrets(config, secrets);
  const texts = [...secrets].filter((text) => text.length >= SCRUBBED_LENGTH_MIN).sort((a, b) => b.length - a.length);
  return copyWithout(config, texts);
}

/** The same for a configuration as it is written. References stay, since they give nothing away. */
export function redactWritten(shape: Shape, written: unknown): unknown {
  const secrets = new Set<string>();
  const redacted = mapTexts(shape, written, (text, { isSecret }) => {
    if (!isSecret || isReference(text)) return text;
    secrets.add(text);
    return REDACTED;
  });
  const texts = [...secrets].filter((text) => text.length >= SCRUBBED_LENGTH_MIN).sort((a, b) => b.length - a.length);
  return copyWithout(redacted, texts);
}

function collectSecrets(value: unknown, secrets: Set<string>): void {
  if (value instanceof Secret) secrets.add(value.reveal());
  else if (Array.isArray(value)) for (const element of value) collectSecrets(element, secrets);
  else if (isRecord(value)) for (const element of Object.values(value)) collectSecrets(element, secrets);
}

function copyWithout(value: unknown, texts: readonly string[]): unknown {
  if (value instanceof Secret) return REDACTED;
  if (typeof value === 'string') return texts.reduce((text, secret) => text.replaceAll(secret, REDACTED), value);
  if (Array.isArray(value)) return value.map((element) => copyWithout(element, texts));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, copyWithout(element, texts)]));
}

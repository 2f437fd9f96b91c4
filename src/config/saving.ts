/**
 * Changes to the configuration file that come from the API and the console. Only the connector in question changes;
 * comments and everything else stay. The new text is checked as a whole before it takes the old one's place, which it
 * does at once and durably.
 */
import { createHash, randomBytes } from 'node:crypto';
import { extname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isMap, isNode, isSeq, visit } from 'yaml';
import { errorText, NorthError } from '../core/error.js';
import { replaceFile } from './atomic-file.js';
import { configSchema } from './config.js';
import { connectorSchema } from './connector.js';
import { type ConfigDocument, parseConfigText } from './document.js';
import { invalidConfig, type LoadedConfig, type LoadingOptions, readConfig, readConfigFile } from './loading.js';
import { mergeNode } from './node-merge.js';
import { redactWritten } from './redaction.js';
import { isReference } from './reference.js';
import { REDACTED } from './secret.js';
import type { SecretStore } from './secret-store.js';
import { isRecord, mapTexts, shapeOf, valueAt } from './shape.js';

export interface SavingOptions extends LoadingOptions {
  /** Where secrets go that are given in plain; without a store they are written as they are. */
  store?: SecretStore;
  /** The revision that the change is based on; when the file has another one by now, CONFIG_CHANGED is thrown. */
  revision?: string;
}

export interface WrittenConnector {
  /** As it stands in the file, secrets redacted. To be given back to `saveConnector`, changed. */
  connector: unknown;
  revision: string;
}

/** A short text that changes with any change of the file. */
export function revisionOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** A connector as it is written, or undefined. */
export function readWrittenConnector(file: string, id: string): WrittenConnector | undefined {
  const text = readConfigFile(file);
  const written = connectorsOf(parse(text, file)).find((connector) => idOf(connector) === id);
  if (written === undefined) return undefined;
  return { connector: redactWritten(shapeOf(connectorSchema), written), revision: revisionOf(text) };
}

/**
 * Adds the connector, or replaces the one with its id. What is given as it was read, with `[redacted]` for a secret,
 * stays what it is. Throws CONFIG_INVALID, with the problems as cause, and nothing is changed then; CONFIG_CHANGED;
 * CONFIG_UNWRITABLE.
 */
export function saveConnector(file: string, connector: unknown, options: SavingOptions = {}): LoadedConfig {
  const made: string[] = [];
  try {
    return changeConnectors(file, options, (connectors) => {
      const index = connectors.findIndex((one) => idOf(one) === idOf(connector));
      const old = connectors[index];
      const restored = restoreRedacted(connector, old);
      const stored = options.store === undefined ? restored : storeSecrets(restored, old, options.store, made);
      return index < 0 ? [...connectors, stored] : connectors.map((one, at) => (at === index ? stored : one));
    });
  } catch (error) {
    for (const name of made) options.store?.remove(name);
    throw error;
  }
}

/** Removes a connector from the file. What it has queued stays on disk. Throws CONNECTOR_UNKNOWN. */
export function removeConnector(file: string, id: string, options: SavingOptions = {}): LoadedConfig {
  return changeConnectors(file, options, (connectors) => {
    const left = connectors.filter((one) => idOf(one) !== id);
    if (left.length < connectors.length) return left;
    throw new NorthError('CONNECTOR_UNKNOWN', 'There is no such connector in the configuration file.', { place: file });
  });
}

function changeConnectors(
  file: string,
  options: SavingOptions,
  edit: (connectors: readonly unknown[]) => readonly unknown[],
): LoadedConfig {
  const text = readConfigFile(file);
  if (options.revision !== undefined && options.revision !== revisionOf(text)) {
    throw new NorthError('CONFIG_CHANGED', 'The configuration file was changed meanwhile.', { place: file });
  }
  const parsed = parse(text, file);
  const connectors = edit(connectorsOf(parsed));
  const changed =
    extname(file) === '.json' ? renderJson(text, parsed, connectors) : renderYaml(text, parsed, connectors);
  const loaded = readConfig(changed, file, options);
  if (loaded.config === undefined) throw invalidConfig(file, loaded.errors);
  write(file, changed);
  if (options.store !== undefined) forgetSecrets(parsed.value, parse(changed, file).value, options.store);
  return loaded;
}

function write(file: string, text: string): void {
  try {
    replaceFile(file, text, 0o600);
  } catch (error) {
    throw new NorthError('CONFIG_UNWRITABLE', `The configuration could not be written: ${errorText(error)}.`, {
      place: file,
      cause: error,
    });
  }
}

function parse(text: string, file: string): ConfigDocument {
  const parsed = parseConfigText(text);
  const [first] = parsed.findings;
  if (first === undefined) return parsed;
  throw new NorthError('CONFIG_SYNTAX', `The configuration ${first.message}.`, {
    place: `${file}:${first.place.line}`,
    remedy: first.hint,
  });
}

function connectorsOf({ value }: ConfigDocument): readonly unknown[] {
  const connectors = valueAt(value, ['connectors']);
  return Array.isArray(connectors) ? connectors : [];
}

function idOf(connector: unknown): unknown {
  return isRecord(connector) ? connector.id : undefined;
}

function renderJson(text: string, { value }: ConfigDocument, connectors: readonly unknown[]): string {
  const config = { ...(isRecord(value) ? value : {}), connectors };
  return `${JSON.stringify(config, null, indentOf(text))}\n`;
}

function renderYaml(text: string, parsed: ConfigDocument, connectors: readonly unknown[]): string {
  const wanted = { ...(isRecord(parsed.value) ? parsed.value : {}), connectors };
  const changed = tryMergeYaml(text, parsed, connectors);
  if (changed !== undefined && isDeepStrictEqual(parseConfigText(changed).value, wanted)) return changed;
  // Something else shares a part of the connector through an alias, and would have changed or vanished with it.
  const plain = parseConfigText(text);
  visit(plain.document, {
    Alias: (_key, alias) => {
      const copy = plain.document.createNode(alias.toJS(plain.document));
      return isNode(copy) ? copy : undefined;
    },
  });
  const written = mergeYaml(text, plain, connectors);
  if (isDeepStrictEqual(parseConfigText(written).value, wanted)) return written;
  throw new NorthError('INTERNAL', 'The change cannot be written without changing something else.');
}

function tryMergeYaml(...args: Parameters<typeof mergeYaml>): string | undefined {
  const [text] = args;
  try {
    return mergeYaml(...args);
  } catch (error) {
    // An alias whose anchor was removed cannot be written; without any alias it is something else.
    if (text.includes('*')) return undefined;
    throw error;
  }
}

function mergeYaml(text: string, { document }: ConfigDocument, connectors: readonly unknown[]): string {
  const root = document.contents;
  if (root !== null && !isMap(root)) throw new NorthError('CONFIG_INVALID', 'The configuration is no section.');
  const node = document.get('connectors', true);
  document.set('connectors', mergeNode(document, isSeq(node) ? node : undefined, connectors));
  return document.toString({
    lineWidth: 0,
    indent: indentOf(text),
    indentSeq: !/^connectors:.*\n(?:[ \t]*(?:#.*)?\n)*- /m.test(text),
    flowCollectionPadding: /[{[] /.test(text) || !/[{[]\S/.test(text),
  });
}

function indentOf(text: string): number {
  const width = /^( +)[^\s#]/m.exec(text)?.[1]?.length ?? 2;
  return Math.min(Math.max(width, 2), 8);
}

function restoreRedacted(connector: unknown, old: unknown): unknown {
  const shape = shapeOf(connectorSchema);
  const shown = redactWritten(shape, old);
  return mapTexts(shape, connector, (text, { path }) =>
    text.includes(REDACTED) && text === valueAt(shown, path) ? valueAt(old, path) : text,
  );
}

/** Puts the secrets that are new and plain into the store, each under a name of its own, and refers to them. */
function storeSecrets(connector: unknown, old: unknown, store: SecretStore, made: string[]): unknown {
  return mapTexts(shapeOf(connectorSchema), connector, (text, { path, isSecret }) => {
    if (!isSecret || isReference(text) || text === '' || text === valueAt(old, path)) return text;
    // A new name each time: the old secret stays until the file no longer refers to it.
    const id = String(idOf(connector))
      .replaceAll(/[^A-Za-z0-9-]/g, '')
      .slice(0, 64);
    const name = `connector.${id}.${String(path.at(-1))}.${randomBytes(4).toString('hex')}`;
    store.set(name, text);
    made.push(name);
    return `secret:${name}`;
  });
}

/** Removes the stored secrets that `before` refers to and `after` does not. */
function forgetSecrets(before: unknown, after: unknown, store: SecretStore): void {
  const kept = storedNames(after);
  for (const name of storedNames(before)) if (!kept.has(name)) store.remove(name);
}

function storedNames(value: unknown): Set<string> {
  const names = new Set<string>();
  mapTexts(shapeOf(configSchema), value, (text, { isSecret }) => {
    if (isSecret && text.startsWith('secret:')) names.add(text.slice('secret:'.length));
    return text;
  });
  return names;
}

/**
 * The JSON that OIBus gives out, in the forms that are in use: one North connector, a list of them, a configuration
 * with `north`, `norths` or `northConnectors`, and the full configuration that OIBus sends to OIAnalytics, in which the
 * connector stands in a `settings` of its own and names its transformers by id.
 */
import { isRecord, valueAt } from '../config/shape.js';
import { NorthError } from '../core/error.js';

const SHOWN_MAX = 100;

export type Fields = Readonly<Record<string, unknown>>;

export interface OibusExport {
  /** The connectors of type MQTT. */
  connectors: readonly Fields[];
  /** Names and types of the North connectors of other types. */
  others: readonly string[];
  /** The transformers that a full configuration lists apart from the connectors, by their id. */
  transformers: ReadonlyMap<string, Fields>;
}

const LISTS = ['north', 'norths', 'northConnectors', 'connectors'];

/** Throws IMPORT_UNREADABLE when the text is no JSON, or has no North connector in it. */
export function readOibusExport(text: string): OibusExport {
  let document: unknown;
  try {
    document = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    // The parser's message quotes the text, in which a password may stand; so nothing of it goes on.
    throw new NorthError('IMPORT_UNREADABLE', 'The file is not valid JSON.');
  }
  const entries = connectorsOf(document).map(unwrap);
  if (entries.length === 0) {
    throw new NorthError('IMPORT_UNREADABLE', 'The file has no North connector of OIBus in it.');
  }
  const isMqtt = (entry: Fields) => textAt(entry, 'type')?.toLowerCase() === 'mqtt' || looksLikeMqtt(entry);
  return {
    connectors: entries.filter(isMqtt),
    others: entries
      .filter((entry) => !isMqtt(entry))
      .map((entry) => `${inShort(nameOf(entry))} (${inShort(textAt(entry, 'type') ?? 'of no known type')})`),
    transformers: catalogOf(document),
  };
}

function connectorsOf(document: unknown): Fields[] {
  if (Array.isArray(document)) return document.filter(isRecord).filter(isConnector);
  if (!isRecord(document)) return [];
  for (const key of LISTS) {
    const list = document[key];
    if (Array.isArray(list)) return list.filter(isRecord);
  }
  if (isConnector(document)) return [document];
  // What an API or another tool has wrapped once more.
  return Object.values(document).flatMap((value) => (isRecord(value) && isConnector(value) ? [value] : []));
}

function isConnector(value: Fields): boolean {
  return isRecord(value.settings);
}

/** The full configuration has the connector one level deeper, beside its id. */
function unwrap(entry: Fields): Fields {
  const inner = entry.settings;
  if (!isRecord(inner) || !isRecord(inner.settings)) return entry;
  return { id: entry.oIBusInternalId ?? entry.id, type: entry.type, ...inner };
}

/** A connector that is exported without its type, but has the settings of one. */
function looksLikeMqtt(entry: Fields): boolean {
  const url = valueAt(entry, ['settings', 'url']);
  return entry.type === undefined && typeof url === 'string' && /^(mqtts?|tcp|ssl|tls|wss?):/i.test(url);
}

function catalogOf(document: unknown): Map<string, Fields> {
  const list = isRecord(document) && Array.isArray(document.transformers) ? document.transformers : [];
  const catalog = new Map<string, Fields>();
  for (const entry of list.filter(isRecord)) {
    const id = textAt(entry, 'oIBusInternalId') ?? textAt(entry, 'id');
    const details = isRecord(entry.settings) ? entry.settings : {};
    if (id !== undefined) catalog.set(id, { ...entry, ...details });
  }
  return catalog;
}

export function nameOf(entry: Fields): string {
  return textAt(entry, 'name') ?? textAt(entry, 'id') ?? 'connector';
}

/** The text of a field, or undefined when it is empty or no text. */
export function textAt(fields: unknown, ...path: string[]): string | undefined {
  const value = valueAt(fields, path);
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
}

/** The number of a field; OIBus writes some of them as text. */
export function numberAt(fields: unknown, ...path: string[]): number | undefined {
  const value = valueAt(fields, path);
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

export function fieldsAt(fields: unknown, ...path: string[]): Fields {
  const value = valueAt(fields, path);
  return isRecord(value) ? value : {};
}

/** A text of the export, short enough for a message to people. */
export function inShort(text: string): string {
  return text.length <= SHOWN_MAX ? text : `${text.slice(0, SHOWN_MAX)}…`;
}

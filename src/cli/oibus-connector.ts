/** From a North MQTT connector of OIBus to a connector of ours, and what is lost on the way. */
import { parseBrokerUrl } from '../config/broker-url.js';
import { formatDuration } from '../config/units.js';
import { NorthError } from '../core/error.js';
import { type Fields, fieldsAt, nameOf, numberAt, textAt } from './oibus-export.js';
import { convertTransformers } from './oibus-transformers.js';

/** Stands where a secret is to be put in; `check` warns of it. */
export const PLACEHOLDER = 'CHANGE-ME';

/** Something that is not, or not exactly, as it was. */
export interface ImportNote {
  connector: string;
  /** The part of the export that it is about: `caching.trigger`. */
  part: string;
  message: string;
}

export interface ConvertedConnector {
  connector: Record<string, unknown> & { id: string };
  notes: ImportNote[];
}

/** Throws IMPORT_UNREADABLE when there is no usable URL. */
export function convertConnector(
  entry: Fields,
  catalog: ReadonlyMap<string, Fields>,
  takenIds: ReadonlySet<string>,
): ConvertedConnector {
  const name = nameOf(entry);
  const notes: ImportNote[] = [];
  const note = (part: string, message: string) => void notes.push({ connector: name, part, message });
  const connector = {
    id: freeId(name, takenIds),
    name: name.slice(0, 200),
    ...(textAt(entry, 'description') === undefined
      ? {}
      : { description: textAt(entry, 'description')?.slice(0, 2000) }),
    ...(entry.enabled === false ? { enabled: false } : {}),
    settings: convertSettings(fieldsAt(entry, 'settings'), note),
    ...convertCaching(fieldsAt(entry, 'caching'), note),
    transformers: convertTransformers(entry.transformers, catalog, note),
  };
  const id = textAt(entry, 'id');
  if (id !== undefined) {
    note(
      'id',
      `OIBus connects with the client id "${id}". If the broker's rules name it, set settings.clientId to it once OIBus is off.`,
    );
  }
  return { connector, notes };
}

export type Note = (part: string, message: string) => void;

function freeId(name: string, taken: ReadonlySet<string>): string {
  const plain = name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-');
  const base = plain.slice(0, 56).replaceAll(/^-+|-+$/g, '') || 'connector';
  let id = base;
  for (let number = 2; taken.has(id); number++) id = `${base}-${number}`;
  return id;
}

function convertSettings(settings: Fields, note: Note): Record<string, unknown> {
  const { url, username } = convertUrl(settings, note);
  const qos = numberAt(settings, 'qos');
  const isQosKnown = qos === 0 || qos === 1 || qos === 2;
  if (!isQosKnown && settings.qos !== undefined) note('settings.qos', 'It is none of 0, 1 and 2; 1 is used.');
  const persistent = settings.persistent === true;
  if (qos === 0 && persistent) note('settings.persistent', 'A session with QoS 0 has nothing to keep; it is left out.');
  if (settings.rejectUnauthorized === false) {
    note(
      'settings.rejectUnauthorized',
      "It stays false: the broker's certificate is not checked. Better set it to true.",
    );
  }
  return {
    url,
    qos: isQosKnown ? qos : 1,
    ...(qos === 0 ? {} : { persistent }),
    ...(typeof settings.rejectUnauthorized === 'boolean' ? { rejectUnauthorized: settings.rejectUnauthorized } : {}),
    ...convertTime(settings, 'reconnectPeriod', note),
    ...convertTime(settings, 'connectTimeout', note),
    authentication: convertAuthentication(settings, username, note),
  };
}

/** OIBus takes credentials in the URL; they go where they belong, and the password is not repeated. */
function convertUrl(settings: Fields, note: Note): { url: string; username: string | undefined } {
  const text = textAt(settings, 'url') ?? '';
  const match = /^([a-z]+:\/\/)(.*)@([^@]*)$/is.exec(text);
  const url = match === null ? text : `${match[1]}${match[3]}`;
  try {
    parseBrokerUrl(url);
  } catch (error) {
    if (!(error instanceof NorthError)) throw error;
    throw new NorthError('IMPORT_UNREADABLE', `The connector has no usable URL. ${error.message}`, {
      remedy: error.remedy,
    });
  }
  if (match === null) return { url, username: undefined };
  note('settings.url', 'User name and password stood in the URL; they belong to authentication.');
  return { url, username: decodeOrKeep(match[2]?.split(':')[0] ?? '') };
}

function decodeOrKeep(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A lone % is no encoding; then the text is meant as it stands.
    return text;
  }
}

function convertTime(settings: Fields, key: string, note: Note): Record<string, number> {
  const value = numberAt(settings, key);
  if (value === undefined) return {};
  const limited = Math.min(Math.max(Math.round(value), 100), 300_000);
  if (limited !== value) note(`settings.${key}`, `It was ${value} ms; the nearest that is allowed is ${limited} ms.`);
  return { [key]: limited };
}

function convertAuthentication(settings: Fields, urlUser: string | undefined, note: Note): Record<string, unknown> {
  const authentication = fieldsAt(settings, 'authentication');
  const caFilePath = textAt(authentication, 'caFilePath');
  const ca = caFilePath === undefined ? {} : { caFilePath };
  // Before OIBus 3, user name and password stood among the settings.
  const username = textAt(authentication, 'username') ?? textAt(settings, 'username') ?? urlUser;
  const type = textAt(authentication, 'type') ?? (username === undefined ? 'none' : 'basic');
  if (type === 'cert') {
    const certFilePath = textAt(authentication, 'certFilePath');
    const keyFilePath = textAt(authentication, 'keyFilePath');
    if (certFilePath !== undefined && keyFilePath !== undefined) {
      note(
        'settings.authentication',
        'The paths are as they were; relative ones now count from the folder of this file.',
      );
      return { type, certFilePath, keyFilePath, ...ca };
    }
    note('settings.authentication', 'The certificate or its key is not named, so there is no authentication.');
    return { type: 'none', ...ca };
  }
  if (type === 'basic' || username !== undefined) {
    note(
      'settings.authentication.password',
      `OIBus encrypts passwords with a key of its own, so it is not carried over. Put it in place of ${PLACEHOLDER}.`,
    );
    return { type: 'basic', username: username ?? PLACEHOLDER, password: PLACEHOLDER, ...ca };
  }
  if (type !== 'none') note('settings.authentication.type', 'It is not known here, so there is no authentication.');
  return { type: 'none', ...ca };
}

function convertCaching(caching: Fields, note: Note): { caching?: Record<string, unknown> } {
  const result: Record<string, unknown> = {};
  if (Object.keys(fieldsAt(caching, 'trigger')).length > 0) {
    note('caching.trigger', 'There is no trigger here: messages leave as soon as they are stored.');
  }
  const megabytes = numberAt(caching, 'throttling', 'maxSize');
  if (megabytes !== undefined && megabytes > 0) result.maxSize = `${Math.max(1, Math.round(megabytes))} MiB`;
  else if (megabytes === 0) note('caching.throttling.maxSize', 'It had no limit; here the default of 10 GiB holds.');
  if ((numberAt(caching, 'throttling', 'runMinDelay') ?? 0) > 0) {
    note(
      'caching.throttling.runMinDelay',
      'There are no runs here. To spare the line, set throttling.messagesPerSecond.',
    );
  }
  if ((numberAt(caching, 'throttling', 'maxNumberOfElements') ?? 0) > 0) {
    note('caching.throttling.maxNumberOfElements', 'Messages leave one by one, as many at once as the broker allows.');
  }
  const { retryInterval, retryCount } = fieldsAt(caching, 'error');
  if (retryInterval !== undefined || retryCount !== undefined) {
    const message =
      'A lost connection is tried again for ever, after reconnectPeriod. A message is never given up for it.';
    note('caching.error', message);
  }
  const errorHours = numberAt(caching, 'error', 'retentionDuration');
  if (errorHours !== undefined) result.quarantine = { retentionDuration: hours(errorHours) };
  const archive = fieldsAt(caching, 'archive');
  if (archive.enabled === true) {
    result.archive = { enabled: true, retentionDuration: hours(numberAt(archive, 'retentionDuration') ?? 72) };
  }
  return Object.keys(result).length === 0 ? {} : { caching: result };
}

function hours(value: number): string {
  return value <= 0 ? '0 h' : formatDuration(Math.max(1, Math.round(value * 60)) * 60_000);
}

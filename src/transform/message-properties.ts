/** The MQTT 5 properties of a message as a producer writes them in JSON. */
import { isUtf8 } from 'node:buffer';
import { nearMiss } from '../config/near-miss.js';
import { parseDuration } from '../config/units.js';
import type { MessageProperties } from '../core/message.js';
import { topicProblem } from '../core/topic.js';
import { isPlainObject, quote, textProblem } from './element.js';

const KEYS = ['payloadIsText', 'contentType', 'responseTopic', 'correlationData', 'userProperties', 'messageExpiry'];
/** Strings and binary data have a two-byte length on the wire [MQTT 5.0 §1.5.4, §1.5.6]. */
const SIZE_MAX_BYTES = 65_535;
const EXPIRY_MAX_SECONDS = 0xffff_ffff;

/** Says what is wrong with one message of the content, by its text. */
export class InvalidMessage extends Error {}

/** Throws InvalidMessage for the first key that is not one of these. */
export function checkKeys(value: Readonly<Record<string, unknown>>, known: readonly string[], owner: string): void {
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const near = nearMiss(key, known);
    throw new InvalidMessage(
      `${owner} has no key ${quote(key)}${near === undefined ? '' : `; perhaps "${near}" is meant`}.`,
    );
  }
}

/**
 * The bytes of a base64 text [RFC 4648 §4]. Node decodes anything, leaving out what it does not understand; encoding
 * the bytes again must therefore give the same text.
 */
export function decodeBase64(value: unknown, name: string): Uint8Array {
  if (typeof value !== 'string') throw new InvalidMessage(`${name} is a text in base64, not ${quote(value)}.`);
  const bytes = Buffer.from(value, 'base64');
  if (bytes.toString('base64') !== value) {
    throw new InvalidMessage(`${name} is not valid base64 (A-Z a-z 0-9 + / with padding, and nothing between).`);
  }
  return bytes;
}

export interface ReadProperties {
  properties: MessageProperties | undefined;
  expirySeconds: number | undefined;
}

/** Reads and checks `properties`; throws InvalidMessage with what is wrong. */
export function readProperties(value: unknown, payload: string | Uint8Array): ReadProperties {
  if (value === undefined) return { properties: undefined, expirySeconds: undefined };
  if (!isPlainObject(value)) throw new InvalidMessage(`properties is an object, not ${quote(value)}.`);
  checkKeys(value, KEYS, 'properties');
  const properties: MessageProperties = {};
  const { payloadIsText, contentType, responseTopic, correlationData, userProperties, messageExpiry } = value;
  if (payloadIsText !== undefined) properties.payloadIsText = readPayloadIsText(payloadIsText, payload);
  if (contentType !== undefined) properties.contentType = readText(contentType, 'properties.contentType');
  if (responseTopic !== undefined) properties.responseTopic = readResponseTopic(responseTopic);
  if (correlationData !== undefined) {
    const name = 'properties.correlationData';
    const bytes = decodeBase64(correlationData, name);
    if (bytes.length > SIZE_MAX_BYTES) throw tooLong(name, bytes.length);
    properties.correlationData = bytes;
  }
  if (userProperties !== undefined) properties.userProperties = readUserProperties(userProperties);
  return { properties, expirySeconds: messageExpiry === undefined ? undefined : readExpiry(messageExpiry) };
}

// A broker may check the claim and refuse the message with 0x99 [MQTT 5.0 §3.3.2.3.2].
function readPayloadIsText(value: unknown, payload: string | Uint8Array): boolean {
  if (typeof value !== 'boolean') {
    throw new InvalidMessage(`properties.payloadIsText is true or false, not ${quote(value)}.`);
  }
  if (value && typeof payload !== 'string' && !isUtf8(payload)) {
    throw new InvalidMessage('properties.payloadIsText is true, but payloadBase64 is no UTF-8 text.');
  }
  return value;
}

function readText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new InvalidMessage(`${name} is a text, not ${quote(value)}.`);
  const problem = value.includes('\0') ? 'has the character NUL in it' : textProblem(value);
  if (problem !== undefined) throw new InvalidMessage(`${name} ${problem}.`);
  const sizeBytes = Buffer.byteLength(value);
  if (sizeBytes > SIZE_MAX_BYTES) throw tooLong(name, sizeBytes);
  return value;
}

function readResponseTopic(value: unknown): string {
  const topic = readText(value, 'properties.responseTopic');
  const problem = topicProblem(topic);
  if (problem !== undefined) throw new InvalidMessage(`properties.responseTopic: ${problem}`);
  return topic;
}

function tooLong(name: string, sizeBytes: number): InvalidMessage {
  return new InvalidMessage(`${name} is ${sizeBytes} bytes long; MQTT allows ${SIZE_MAX_BYTES}.`);
}

function readUserProperties(value: unknown): [string, string][] {
  if (!isPlainObject(value)) {
    throw new InvalidMessage(`properties.userProperties is an object of names and texts, not ${quote(value)}.`);
  }
  const pairs: [string, string][] = [];
  for (const [name, entry] of Object.entries(value)) {
    readText(name, 'A name in properties.userProperties');
    const place = `properties.userProperties[${quote(name)}]`;
    for (const text of Array.isArray(entry) ? entry : [entry]) pairs.push([name, readText(text, place)]);
  }
  return pairs;
}

/** Seconds, as on the wire, or a text with its unit; a part of a second counts as a whole one. */
function readExpiry(value: unknown): number {
  const seconds = typeof value === 'string' ? expiryOfText(value) : value;
  if (typeof seconds === 'number' && seconds >= 0 && seconds <= EXPIRY_MAX_SECONDS) return Math.ceil(seconds);
  const expected = `0 to ${EXPIRY_MAX_SECONDS} seconds, or a text with its unit such as "90 s"`;
  throw new InvalidMessage(`properties.messageExpiry is ${expected}, not ${quote(value)}.`);
}

function expiryOfText(text: string): number | undefined {
  const ms = parseDuration(/[a-z]/i.test(text) ? text : `${text}s`);
  return ms === undefined ? undefined : ms / 1000;
}

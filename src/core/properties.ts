/** The wire form of a message's MQTT 5 properties [MQTT 5.0 §3.3.2.3]. */
import type { MessageProperties } from './message.js';

const PAYLOAD_FORMAT_INDICATOR = 0x01;
const CONTENT_TYPE = 0x03;
const RESPONSE_TOPIC = 0x08;
const CORRELATION_DATA = 0x09;
const USER_PROPERTY = 0x26;

/**
 * Encodes the properties without their leading length, in a fixed order, so that equal properties give equal bytes.
 * Throws a RangeError when a string or the correlation data is longer than 65,535 bytes.
 */
export function encodeProperties(properties: MessageProperties): Uint8Array {
  const parts: Uint8Array[] = [];
  if (properties.payloadIsText === true) parts.push(Uint8Array.of(PAYLOAD_FORMAT_INDICATOR, 1));
  if (properties.contentType !== undefined) parts.push(Uint8Array.of(CONTENT_TYPE), text(properties.contentType));
  if (properties.responseTopic !== undefined) parts.push(Uint8Array.of(RESPONSE_TOPIC), text(properties.responseTopic));
  if (properties.correlationData !== undefined) {
    parts.push(Uint8Array.of(CORRELATION_DATA), binary(properties.correlationData));
  }
  for (const [name, value] of properties.userProperties ?? []) {
    parts.push(Uint8Array.of(USER_PROPERTY), text(name), text(value));
  }
  return Buffer.concat(parts);
}

/** The reverse of `encodeProperties`, for display. Throws a RangeError on bytes that it did not write. */
export function decodeProperties(bytes: Uint8Array): MessageProperties {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const properties: MessageProperties = {};
  const userProperties: [string, string][] = [];
  let at = 0;
  const take = (): Buffer => {
    const size = buffer.readUInt16BE(at);
    const end = at + 2 + size;
    if (end > buffer.length) throw new RangeError('A property ends beyond the properties.');
    const value = buffer.subarray(at + 2, end);
    at = end;
    return value;
  };
  while (at < buffer.length) {
    const id = buffer[at++];
    if (id === PAYLOAD_FORMAT_INDICATOR) properties.payloadIsText = buffer.readUInt8(at++) === 1;
    else if (id === CONTENT_TYPE) properties.contentType = take().toString();
    else if (id === RESPONSE_TOPIC) properties.responseTopic = take().toString();
    else if (id === CORRELATION_DATA) properties.correlationData = take();
    else if (id === USER_PROPERTY) userProperties.push([take().toString(), take().toString()]);
    else throw new RangeError(`There is no message property ${id}.`);
  }
  if (userProperties.length > 0) properties.userProperties = userProperties;
  return properties;
}

function text(value: string): Uint8Array {
  return binary(Buffer.from(value));
}

function binary(value: Uint8Array): Uint8Array {
  if (value.length > 65_535) throw new RangeError('A property is longer than 65,535 bytes.');
  const out = Buffer.allocUnsafe(2 + value.length);
  out.writeUInt16BE(value.length, 0);
  out.set(value, 2);
  return out;
}

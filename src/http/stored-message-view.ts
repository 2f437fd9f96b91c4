/** A stored message as the API shows it: its record taken apart, its payload as base64 and, where it is text, readable. */
import { isUtf8 } from 'node:buffer';
import type { StoredMessage } from '../cache/store.js';
import { decodeProperties } from '../core/properties.js';
import { type RecordView, readRecord } from '../core/record.js';

const PREVIEW_MAX_CHARS = 1000;
/** A character has at most four bytes; one more byte tells whether the text goes on. */
const PREVIEW_MAX_BYTES = PREVIEW_MAX_CHARS * 4;

export interface StoredMessageView {
  state: string;
  id?: number | undefined;
  messageId: string;
  lane: string;
  offset?: number | undefined;
  acceptedAt: string;
  at?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
  topic?: string;
  qos?: number;
  retain?: boolean;
  expirySeconds?: number;
  properties?: object;
  payloadSizeBytes: number;
  payloadBase64: string;
  payloadText?: string;
  truncated: boolean;
  /** Of a damaged stretch: how many messages it stood for. */
  count?: number;
}

/** `payloadMaxBytes` bounds what is shown of the payload; a message that cannot be read shows its raw record. */
export function viewStoredMessage(message: StoredMessage, payloadMaxBytes: number): StoredMessageView {
  const { state, id, messageId, lane, offset, code, reason } = message;
  const record = readRecord(message.record, 0);
  const payload = record?.payload ?? message.record;
  const shown = payload.subarray(0, payloadMaxBytes);
  const text = previewText(payload);
  return {
    state,
    id,
    messageId,
    lane,
    offset,
    acceptedAt: isoTime(message.acceptedAtMs),
    at: message.atMs === undefined ? undefined : isoTime(message.atMs),
    code,
    reason,
    ...(record === undefined ? {} : describeRecord(record)),
    payloadSizeBytes: payload.length,
    payloadBase64: asBuffer(shown).toString('base64'),
    ...(text === undefined || record === undefined ? {} : { payloadText: text }),
    truncated: shown.length < payload.length,
    ...(message.count === 1 ? {} : { count: message.count }),
  };
}

function describeRecord(record: RecordView): object {
  const { qos, retain, expirySeconds } = record;
  const properties = record.properties.length === 0 ? undefined : readProperties(record.properties);
  return { topic: asBuffer(record.topic).toString('utf8'), qos, retain, expirySeconds, properties };
}

function readProperties(bytes: Uint8Array): object | undefined {
  try {
    const { correlationData, ...others } = decodeProperties(bytes);
    return correlationData === undefined
      ? others
      : { ...others, correlationDataBase64: asBuffer(correlationData).toString('base64') };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The beginning of a payload that is text; undefined for other bytes. */
function previewText(payload: Uint8Array): string | undefined {
  let size = Math.min(payload.length, PREVIEW_MAX_BYTES);
  if (size < payload.length) {
    // Not in the middle of a character: back to the byte that begins one.
    while (size > 0 && (payload[size]! & 0xc0) === 0x80) size--;
  }
  const start = payload.subarray(0, size);
  if (!isUtf8(start) || start.includes(0)) return undefined;
  const text = asBuffer(start).toString('utf8');
  if (text.length <= PREVIEW_MAX_CHARS) return text;
  const cut = text.slice(0, PREVIEW_MAX_CHARS);
  // The cut may have fallen between the two halves of one character.
  return /[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut;
}

/** Times come from a file that may be damaged; what is no time must not make the rest unreadable. */
function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString();
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

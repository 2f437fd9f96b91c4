/**
 * How fast data is accepted on this disk, without any broker: content goes through the product's own acceptance and
 * cache, and a receipt is given only after the sync. Nothing of it is ever sent.
 */
import type { ConnectorInput } from '../config/connector.js';
import { connectorSchema } from '../config/connector.js';
import type { Connector } from '../connector/connector.js';
import { openLiveConnector } from '../connector/open-connector.js';
import { type Distribution, distributionOf } from './distribution.js';
import { type Load, loadBetween, markLoad } from './machine-load.js';
import { RateRecord } from './rate-record.js';

const SINGLE_ROUNDS = 200;
const SINGLE_TIME_MAX_MS = 1500;
const REQUESTS_AT_ONCE = 4;
const REQUEST_MESSAGES_MAX = 1000;
const REQUEST_SIZE_MAX_BYTES = 1024 * 1024;
/** What may lie in the cache at the end. */
const SIZE_MAX_BYTES = 128 * 1024 * 1024;
const TIME_MAX_MS = 2000;
/** A stored record has a header besides topic and payload. */
const RECORD_EXTRA_BYTES = 24;

export interface AcceptanceRate {
  /** Messages per second, in requests of `requestMessages`, several at once; over the second half. */
  perSecond: number | undefined;
  requestMessages: number;
  requestsAtOnce: number;
  /** Messages that were stored for it. */
  accepted: number;
  /** A request with one message alone, from handing it in until its receipt. */
  single: Distribution | undefined;
  load: Load;
}

export interface AcceptanceRateOptions {
  settings: ConnectorInput['settings'];
  folder: string;
  topic: string;
  payload: string;
  messagesMax: number;
  signal: AbortSignal;
}

/** Rejects with what the cache rejects with. An interrupted run gives the figures so far. */
export async function measureAcceptance(options: AcceptanceRateOptions): Promise<AcceptanceRate> {
  const { settings, folder, topic, payload, signal } = options;
  const config = connectorSchema.parse({ id: 'acceptance', settings });
  const connector = await openLiveConnector(config, { folder });
  try {
    const element = { topic, payload };
    const single = await acceptSingles(connector, element, options);
    const messageBytes = recordSizeBytes(topic, payload);
    const requestMessages = requestSize(messageBytes, options.messagesMax);
    const messagesMax = Math.min(options.messagesMax, Math.floor(SIZE_MAX_BYTES / messageBytes));
    const elements = new Array<unknown>(requestMessages).fill(element);
    const record = new RateRecord(performance.now());
    const endMs = performance.now() + TIME_MAX_MS;
    const loadBefore = markLoad();
    let handedIn = 0;
    let accepted = 0;
    const producer = async (): Promise<void> => {
      while (handedIn + requestMessages <= messagesMax && performance.now() < endMs && !signal.aborted) {
        handedIn += requestMessages;
        await connector.accept({ type: 'messages', elements }, { source: 'measurement' });
        accepted += requestMessages;
        record.note(accepted, performance.now());
      }
    };
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, producer));
    return {
      perSecond: record.perSecond(),
      requestMessages,
      requestsAtOnce: REQUESTS_AT_ONCE,
      accepted: accepted + (single?.count ?? 0),
      single,
      load: loadBetween(loadBefore, markLoad()),
    };
  } finally {
    await connector.close(0);
  }
}

async function acceptSingles(
  connector: Connector,
  element: unknown,
  { messagesMax, signal }: AcceptanceRateOptions,
): Promise<Distribution | undefined> {
  const endMs = performance.now() + SINGLE_TIME_MAX_MS;
  const timesMs: number[] = [];
  const rounds = Math.min(SINGLE_ROUNDS, messagesMax);
  while (timesMs.length < rounds && performance.now() < endMs && !signal.aborted) {
    const startMs = performance.now();
    await connector.accept({ type: 'messages', elements: [element] }, { source: 'measurement' });
    timesMs.push(performance.now() - startMs);
  }
  return distributionOf(timesMs);
}

/** What a message takes in the cache. */
export function recordSizeBytes(topic: string, payload: string): number {
  return Buffer.byteLength(topic) + Buffer.byteLength(payload) + RECORD_EXTRA_BYTES;
}

/** Messages in one request: many, as long as they are not many bytes. */
export function requestSize(messageBytes: number, messagesMax: number): number {
  return Math.max(1, Math.min(REQUEST_MESSAGES_MAX, messagesMax, Math.floor(REQUEST_SIZE_MAX_BYTES / messageBytes)));
}

import type { Readable } from 'node:stream';

/** One measured value, as producers hand it in. */
export interface TimeValue {
  pointId: string;
  /** ISO 8601, as the producer wrote it. */
  timestamp: string;
  data: Record<string, unknown>;
}

/** One command to a device: a reference and the value that it is to take. */
export interface Setpoint {
  reference: string;
  value: unknown;
}

export const CONTENT_TYPES = ['time-values', 'setpoints', 'csv', 'json', 'messages'] as const;
export type ContentType = (typeof CONTENT_TYPES)[number];

/**
 * What a producer hands in. The elements of the list types are `unknown`: the transformer checks each one, so that
 * one bad element is rejected with its index and the others go on.
 */
export type Content =
  | { type: 'time-values'; elements: readonly unknown[] }
  | { type: 'setpoints'; elements: readonly unknown[] }
  | { type: 'messages'; elements: readonly unknown[] }
  | { type: 'json'; document: unknown; fileName?: string }
  | { type: 'csv'; body: Readable | Uint8Array; fileName?: string };

/** One element that could not be taken, by its 0-based index in the content (for CSV: the data row's index). */
export interface Rejection {
  index: number;
  code: string;
  message: string;
}

/** Where a piece of content came from: the id of an input, or the API's `source` parameter; `api` when it gave none. */
export type Source = string;

/** From an error to its answer: one table of statuses, one form of body. */
import { randomBytes } from 'node:crypto';
import type { Rejection } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';

/** The HTTP status of each code that the API answers with. One that is not here was not foreseen in an answer: 500. */
export const STATUS_OF_ERROR: Readonly<Partial<Record<ErrorCode, number>>> = {
  REQUEST_INVALID: 400,
  CONTENT_MALFORMED: 400,
  CONFIG_INVALID: 400,
  CONFIG_SECRET_MISSING: 400,
  SECRET_NAME_INVALID: 400,
  CERTIFICATE_FILE_MISSING: 400,
  CERTIFICATE_INVALID: 400,
  CERTIFICATE_KEY_MISMATCH: 400,
  CERTIFICATE_KEY_ENCRYPTED: 400,
  TOKEN_MISSING: 401,
  TOKEN_FORBIDDEN: 403,
  HOST_FORBIDDEN: 403,
  ORIGIN_FORBIDDEN: 403,
  ROUTE_UNKNOWN: 404,
  CONNECTOR_UNKNOWN: 404,
  MESSAGE_UNKNOWN: 404,
  REQUEST_TIMEOUT: 408,
  CONNECTOR_DISABLED: 409,
  CONNECTOR_EXISTS: 409,
  CONNECTOR_NOT_EMPTY: 409,
  CONFIG_MISSING: 409,
  CONFIG_CHANGED: 409,
  CONTENT_TOO_LARGE: 413,
  MESSAGE_TOO_LARGE: 413,
  CONTENT_TYPE_UNSUPPORTED: 415,
  CONTENT_EMPTY: 422,
  ELEMENT_INVALID: 422,
  TRANSFORMER_MISSING: 422,
  TRANSFORMER_FAILED: 422,
  UNMAPPED: 422,
  TOPIC_INVALID: 422,
  IDEMPOTENCY_KEY_REUSED: 422,
  REQUEST_TOO_MANY: 429,
  INTERNAL: 500,
  SERVICE_STOPPING: 503,
  CONNECTOR_FAILED: 503,
  CACHE_FAILED: 503,
  CACHE_DAMAGED: 503,
  CACHE_NEWER: 503,
  CACHE_CLOSED: 503,
  CACHE_LOCKED: 503,
  CACHE_FULL: 507,
  CACHE_DISK_FULL: 507,
};

/** Seconds after which a client may try again, for statuses that pass by themselves. */
const RETRY_AFTER_SECONDS: Readonly<Record<number, number>> = { 429: 1, 503: 5, 507: 10 };

export function statusOf(code: ErrorCode): number {
  return STATUS_OF_ERROR[code] ?? 500;
}

/** How many rejected elements an answer lists; it counts all. */
export const REJECTIONS_MAX = 10_000;

/** What became of content in one of several connectors. */
export interface Outcome {
  connector: string;
  stored: boolean;
  receipt?: string;
  accepted?: number;
  quarantined?: number;
  code?: string;
  message?: string;
  remedy?: string;
}

export interface ErrorBody {
  code: string;
  message: string;
  remedy: string;
  place?: string;
  /** For CONTENT_EMPTY: why each element was refused; the first `REJECTIONS_MAX` of them, and how many there were. */
  rejected?: readonly Rejection[];
  rejectedCount?: number;
  /** For content to several connectors: which of them have stored it all the same. */
  connectors?: readonly Outcome[];
  /** For INTERNAL: names the log line with the details. */
  incident?: string;
}

export interface ErrorAnswer {
  status: number;
  retryAfterSeconds: number | undefined;
  body: ErrorBody;
}

/** An error of content that went to several connectors, with what became of it in each. */
export class PartialError extends NorthError {
  readonly connectors: readonly Outcome[];

  constructor(cause: NorthError, message: string, connectors: readonly Outcome[]) {
    super(cause.code, message, { remedy: cause.remedy, cause });
    this.connectors = connectors;
  }
}

/**
 * The answer for whatever was thrown. What has no status of its own is told to the log. What is not a NorthError, or is
 * INTERNAL, gets an incident number, and the client gets that alone: such messages may quote secrets or file contents.
 */
export function answerOf(error: unknown, logUnforeseen: (incident: string, error: unknown) => void): ErrorAnswer {
  const isForeseen = error instanceof NorthError && error.code !== 'INTERNAL';
  if (!isForeseen || STATUS_OF_ERROR[error.code] === undefined) {
    const incident = randomBytes(6).toString('hex');
    logUnforeseen(incident, error);
    const { meaning, remedy } = ERRORS.INTERNAL;
    const body: ErrorBody = isForeseen ? error.toJSON() : { code: 'INTERNAL', message: meaning, remedy };
    body.incident = incident;
    if (error instanceof PartialError) body.connectors = error.connectors;
    return { status: 500, retryAfterSeconds: undefined, body };
  }
  const status = statusOf(error.code);
  const body: ErrorBody = error.toJSON();
  const rejected = rejectionsOf(error);
  if (rejected !== undefined) {
    body.rejectedCount = rejected.length;
    body.rejected = rejected.slice(0, REJECTIONS_MAX);
  }
  if (error instanceof PartialError) body.connectors = error.connectors;
  return { status, retryAfterSeconds: RETRY_AFTER_SECONDS[status], body };
}

/** The rejections that CONTENT_EMPTY carries, in itself or in its cause; see `Connector.accept`. */
export function rejectionsOf(error: NorthError): readonly Rejection[] | undefined {
  for (let holder: unknown = error; typeof holder === 'object' && holder !== null; ) {
    // The list is made by a connector alone; its elements need no second check.
    if ('rejections' in holder && Array.isArray(holder.rejections)) return holder.rejections as Rejection[];
    holder = 'cause' in holder ? holder.cause : undefined;
  }
  return undefined;
}

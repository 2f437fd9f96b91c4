/** What the face of a cache and its store say to each other, across threads or within one. */
import { NorthError } from '../core/error.js';
import { type ErrorCode, isErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';
import type {
  Batch,
  ListPage,
  ListQuery,
  SessionIdentity,
  SessionProgress,
  StoreLimits,
  StoreReply,
  StoreRequest,
  StoreStatus,
} from './store.js';

export interface ReadQuery {
  lane: Lane;
  fromOffset: number;
  sizeBytesMax: number;
}

/** One thing to do. `id` comes back with the answer. */
export type Call =
  | { id: number; kind: 'execute'; request: StoreRequest }
  | { id: number; kind: 'read'; query: ReadQuery }
  | { id: number; kind: 'list'; query: ListQuery }
  | { id: number; kind: 'position'; source: string }
  | { id: number; kind: 'status' }
  | { id: number; kind: 'limits'; limits: StoreLimits }
  | { id: number; kind: 'close' };

export type Answer =
  | { id: number; kind: 'execute'; reply: StoreReply }
  | { id: number; kind: 'read'; batches: Batch[] }
  | { id: number; kind: 'list'; page: ListPage }
  | { id: number; kind: 'position'; value: string | undefined }
  | { id: number; kind: 'status'; status: StoreStatus }
  | { id: number; kind: 'done' }
  | { id: number; kind: 'error'; error: CarriedError };

/** What the face knows of the cache from the beginning. */
export interface Opening {
  cacheId: string;
  progress: SessionProgress;
  identity: SessionIdentity | undefined;
}

/** An error in the form that crosses threads: its class would not. */
export interface CarriedError {
  code: ErrorCode;
  message: string;
  remedy: string | undefined;
  place: string | undefined;
}

export function carryError(error: unknown): CarriedError {
  if (error instanceof NorthError) {
    return { code: error.code, message: error.message, remedy: error.remedy, place: error.place };
  }
  const message = error instanceof Error ? error.message : String(error);
  // An impossible request is a fault of the program, not of the disk.
  return {
    code: error instanceof RangeError ? 'INTERNAL' : 'CACHE_FAILED',
    message,
    remedy: undefined,
    place: undefined,
  };
}

export function restoreError(carried: CarriedError): NorthError {
  const { code, message, remedy, place } = carried;
  return new NorthError(isErrorCode(code) ? code : 'CACHE_FAILED', message, {
    ...(remedy === undefined ? {} : { remedy }),
    ...(place === undefined ? {} : { place }),
  });
}

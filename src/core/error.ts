import { ERRORS, type ErrorCode } from './error-codes.js';

export interface ErrorDetails {
  /** Overrides the remedy of the code's table entry where the place allows a better one. */
  remedy?: string;
  /** Where it happened: a configuration path, a file, a broker's address. */
  place?: string;
  cause?: unknown;
}

/**
 * The one error class of the product. `code` never changes its meaning; `message` says what happened here, without
 * secrets; `remedy` says what the reader can do about it.
 */
export class NorthError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly place: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'NorthError';
    this.code = code;
    this.remedy = details.remedy ?? ERRORS[code].remedy;
    this.place = details.place;
  }

  toJSON(): { code: string; message: string; remedy: string; place?: string } {
    return {
      code: this.code,
      message: this.message,
      remedy: this.remedy,
      ...(this.place === undefined ? {} : { place: this.place }),
    };
  }
}

/** The error's text whatever was thrown: libraries throw strings and plain objects, too. */
export function errorText(error: unknown): string {
  if (error instanceof Error) return error.message === '' ? error.name : error.message;
  return String(error);
}

/** The operating system's or library's error code (`ENOENT`, `SQLITE_FULL`), when there is one. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

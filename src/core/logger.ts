/**
 * Where a part of the product writes its log lines: the few methods of pino that are used, so that a test or a user of
 * the library can give its own. `fields` carry what a machine reads, never a secret; `message` is for people.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A logger that keeps nothing. */
export const SILENT_LOGGER: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/**
 * Takes the files of a folder, oldest first, one at a time.
 *
 *     listed -> settled -> handed to the connectors, part by part -> moved to done/ or failed/
 *                              |                                        |
 *                              | the progress is stored with the rows   | synced before the next file is begun
 *
 * The connectors store how far they are as one position per input, which the next file overwrites. Therefore a file that
 * was begun is brought to its end and moved away before another one is begun: also after a restart, after a full cache,
 * and when it cannot be moved. Otherwise it would be met again with its progress forgotten, and published twice.
 *
 * What each problem does:
 * - it lies outside the file (cache full, connector disabled, folder not usable): the input waits and tries again;
 * - no connector has a transformer for the file: the file stays, and the others are taken;
 * - it lies in the file: the file goes to failed/ with the reason beside it, and the next one is taken.
 */
import { join } from 'node:path';
import type { FolderConfig } from '../config/inputs.js';
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';
import type { Logger } from '../core/logger.js';
import { FILE_REJECTIONS_MAX, type FileProgress, type FileReceipt } from './file.js';
import { readFileContent } from './file-form.js';
import { decodeFileKey, encodeFileKey, type FileKey, hasGrown, isSameFile, mayBe, readFileKey } from './file-key.js';
import { FolderListing, type ListedFile } from './folder-listing.js';
import type { Delivery, Input, InputStatus } from './input.js';
import { OpenFile } from './open-file.js';
import { OutcomeFolders } from './outcome-folders.js';
import { InputReport } from './report.js';

export interface FolderOptions {
  config: FolderConfig;
  delivery: Delivery;
  clock: Clock;
  logger: Logger;
}

const STOP_TIMEOUT_MS = 5000;
/** So often is a file tried that cannot be read, before it counts as its own fault. */
const READ_ATTEMPTS = 5;

/** Problems that lie in the file itself. All others pass, or are for a person to mend, with the file where it is. */
const FAULTS_OF_FILE: ReadonlySet<ErrorCode> = new Set([
  'CONTENT_MALFORMED',
  'CONTENT_EMPTY',
  'CONTENT_TOO_LARGE',
  'CONTENT_TYPE_UNSUPPORTED',
  'ELEMENT_INVALID',
  'ROW_INVALID',
  'TRANSFORMER_FAILED',
  'MESSAGE_TOO_LARGE',
  'TOPIC_INVALID',
  'FILE_UNREADABLE',
  'FILE_UNSUPPORTED',
  'FILE_CHANGED',
  // Unforeseen, so that it may come again with this file for ever; the others must not wait for it.
  'INTERNAL',
]);

/**
 * By name the keys under which connectors have stored progress: several where one of them is still at a former file of
 * the same name.
 */
type Begun = Map<string, readonly FileKey[]>;

/** What came of trying a file: whether the next one may be begun. */
type Verdict = 'next' | 'wait';

export class FolderInput implements Input {
  readonly id: string;
  readonly #config: FolderConfig;
  readonly #delivery: Delivery;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #report: InputReport;
  readonly #listing: FolderListing;
  readonly #outcomes: OutcomeFolders;
  /** Files that a connector has begun; they come before all others. Undefined until the connectors have been asked. */
  #begun: Begun | undefined;
  /** Of each of these the part before was taken: when it has only grown, it was not complete then. */
  readonly #changed: Begun = new Map();
  /** How often a file could not be read. */
  readonly #unreadable = new Map<string, number>();
  #stopping: AbortController | undefined;
  #running: Promise<void> | undefined;

  constructor({ config, delivery, clock, logger }: FolderOptions) {
    this.id = config.id;
    this.#config = config;
    this.#delivery = delivery;
    this.#clock = clock;
    this.#logger = logger;
    this.#report = new InputReport(config.id, config.type, clock, logger);
    this.#outcomes = new OutcomeFolders(config.path);
    this.#listing = new FolderListing({
      path: config.path,
      pattern: config.pattern,
      settleTimeMs: config.settleTime,
      clock,
      onOddity: (name, reason) => logger.warn({ input: config.id, name }, `A file is not taken: ${reason}.`),
    });
  }

  start(): void {
    if (this.#running !== undefined) return;
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#running = this.#run(stopping.signal);
  }

  /** Waits no longer than some seconds for a share that hangs: what is read there afterwards is not handed on. */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#stopping?.abort();
    let cancel = (): void => undefined;
    const overdue = new Promise<void>((resolve) => {
      cancel = this.#clock.schedule(STOP_TIMEOUT_MS, resolve);
    });
    await Promise.race([running, overdue]);
    cancel();
    this.#running = undefined;
    this.#report.show('stopped', 'stopped');
  }

  status(): InputStatus {
    return this.#report.status();
  }

  async #run(signal: AbortSignal): Promise<void> {
    this.#showIdle();
    while (!signal.aborted) {
      try {
        await this.#lookOnce(signal);
      } catch (error) {
        this.#report.problem(error, 'The folder cannot be worked on.');
        this.#report.show('failing', errorText(error));
      }
      await this.#pause(signal);
    }
  }

  #showIdle(): void {
    this.#report.show('running', `watching ${this.#config.path} for ${this.#config.pattern}`);
  }

  /** Resolves after the interval, or at once when the input is stopped. */
  #pause(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) {
        resolve();
        return;
      }
      const cancel = this.#clock.schedule(this.#config.interval, () => {
        signal.removeEventListener('abort', end);
        resolve();
      });
      const end = (): void => {
        cancel();
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
    });
  }

  async #lookOnce(signal: AbortSignal): Promise<void> {
    await this.#outcomes.prepare();
    this.#begun ??= await this.#readBegun();
    const files = await this.#listing.read();
    const order = this.#chooseOrder(files, this.#begun);
    let verdict: Verdict = 'next';
    for (const file of order) {
      if (signal.aborted) return;
      verdict = await this.#takeFile(file, this.#begun, signal);
      if (verdict === 'wait') return;
    }
    this.#showIdle();
  }

  async #readBegun(): Promise<Begun> {
    const begun = new Map<string, readonly FileKey[]>();
    for (const { fileKey } of await this.#delivery.fileProgress(positionSource(this.id))) {
      const key = decodeFileKey(fileKey);
      if (key !== undefined) begun.set(key.name, [...(begun.get(key.name) ?? []), key]);
    }
    return begun;
  }

  /** The settled files, those that were begun before first; none while one of these has not settled yet. */
  #chooseOrder(files: readonly ListedFile[], begun: Begun): ListedFile[] {
    const byName = new Map(files.map((file) => [file.name, file]));
    const first: ListedFile[] = [];
    for (const [name, keys] of begun) {
      const file = byName.get(name);
      if (file !== undefined && keys.some((key) => mayBe(key, file))) {
        if (!file.settled) return [];
        first.push(file);
        continue;
      }
      // It is gone, or another file has its name now.
      begun.delete(name);
      if (file !== undefined) this.#changed.set(name, keys);
    }
    for (const map of [this.#changed, this.#unreadable]) {
      for (const name of map.keys()) if (!byName.has(name)) map.delete(name);
    }
    return [...first, ...files.filter((file) => file.settled && !begun.has(file.name))];
  }

  async #takeFile(listed: ListedFile, begun: Begun, signal: AbortSignal): Promise<Verdict> {
    const { name } = listed;
    let file: OpenFile | undefined;
    try {
      file = await OpenFile.open(join(this.#config.path, name), name);
    } catch (error) {
      return this.#judge(name, error, undefined, begun, signal);
    }
    if (file === undefined) return 'next';
    let outcome: { receipt: FileReceipt } | { error: unknown; progress: FileProgress | undefined };
    try {
      if (file.stat.sizeBytes !== listed.sizeBytes || file.stat.modifiedMs !== listed.modifiedMs) return 'next';
      outcome = await this.#deliver(file, begun, signal);
    } finally {
      await file.close();
    }
    if ('receipt' in outcome) return this.#finish(name, outcome.receipt, begun);
    return this.#judge(name, outcome.error, outcome.progress, begun, signal);
  }

  /** Hands the file over. The file stays open throughout, so that all readings are of the same one. */
  async #deliver(file: OpenFile, begun: Begun, signal: AbortSignal) {
    const { name, stat } = file;
    let progress: FileProgress | undefined;
    try {
      const fresh = await readFileKey(file.handle, name, stat);
      const key = begun.get(name)?.find((known) => isSameFile(known, fresh)) ?? fresh;
      for (const before of this.#changed.get(name) ?? []) {
        if (!(await hasGrown(file.handle, before, stat))) continue;
        throw new NorthError('FILE_CHANGED', `"${name}" has grown after a part of it was taken.`);
      }
      const content = await readFileContent(file, {
        contentType: this.#config.contentType,
        jsonMaxSizeBytes: this.#config.jsonMaxSize,
      });
      this.#report.show('running', `reading ${name}`);
      const receipt = await this.#delivery.deliverFile(content, {
        source: this.id,
        positionSource: positionSource(this.id),
        fileKey: encodeFileKey(key),
        signal,
        onProgress: (now) => {
          progress = now;
          begun.set(name, [key]);
          this.#report.show('running', `reading ${name}, ${now.rowsTaken} rows stored`);
        },
      });
      begun.set(name, [key]);
      // What was added after the end was read would otherwise lie in done/ and never have been taken.
      await file.checkUnchanged();
      return { receipt };
    } catch (error) {
      return { error, progress };
    }
  }

  async #finish(name: string, receipt: FileReceipt, begun: Begun): Promise<Verdict> {
    const { accepted, rejectedCount } = receipt;
    const note = rejectedCount === 0 ? undefined : { name: 'rejected', text: describeRejections(receipt) };
    await this.#outcomes.take(name, 'done', note);
    this.#forget(name, begun);
    this.#report.delivered();
    this.#logger.info({ input: this.id, name, accepted, rejected: rejectedCount }, 'A file was taken.');
    return 'next';
  }

  async #judge(
    name: string,
    error: unknown,
    progress: FileProgress | undefined,
    begun: Begun,
    signal: AbortSignal,
  ): Promise<Verdict> {
    const code: ErrorCode = error instanceof NorthError ? error.code : 'INTERNAL';
    if (signal.aborted && code === 'SERVICE_STOPPING') return 'wait';
    if (code === 'TRANSFORMER_MISSING') {
      this.#report.problem(error, `The file ${JSON.stringify(name)} stays where it is.`);
      return 'next';
    }
    if (!FAULTS_OF_FILE.has(code)) {
      this.#report.problem(error, `The file ${JSON.stringify(name)} waits.`);
      this.#report.show('waiting', `waiting with ${name}: ${errorText(error)}`);
      return 'wait';
    }
    if (code === 'FILE_CHANGED' && !this.#changed.has(name)) {
      // It is still being written; when it has settled again, it shows whether it has grown or is another one.
      const keys = begun.get(name);
      begun.delete(name);
      if (keys !== undefined) this.#changed.set(name, keys);
      this.#report.problem(error, `The file ${JSON.stringify(name)} is not complete.`);
      return 'next';
    }
    const attempts = (this.#unreadable.get(name) ?? 0) + 1;
    if (code === 'FILE_UNREADABLE' && attempts < READ_ATTEMPTS) {
      // A share that is away for a moment, or too many open files, is not the fault of the file.
      this.#unreadable.set(name, attempts);
      this.#report.problem(error, `The file ${JSON.stringify(name)} cannot be read for now.`);
      return begun.has(name) ? 'wait' : 'next';
    }
    const text = describeFailure(error, progress, new Date(this.#clock.wallMs()));
    await this.#outcomes.take(name, 'failed', { name: 'reason', text });
    this.#report.failed(error, `The file ${JSON.stringify(name)} was moved to failed/.`);
    this.#forget(name, begun);
    return 'next';
  }

  #forget(name: string, begun: Begun): void {
    begun.delete(name);
    this.#changed.delete(name);
    this.#unreadable.delete(name);
  }
}

function positionSource(id: string): string {
  return `folder:${id}`;
}

function describeFailure(error: unknown, progress: FileProgress | undefined, now: Date): string {
  const code = error instanceof NorthError ? error.code : 'INTERNAL';
  const remedy = error instanceof NorthError ? error.remedy : ERRORS.INTERNAL.remedy;
  const stored = progress?.accepted ?? 0;
  const rows =
    stored === 0
      ? 'Nothing of it was taken.'
      : `${stored} rows of it were taken before, and are not undone: repeat only the others.`;
  return `${now.toISOString()}\n${code}: ${errorText(error)}\n${remedy}\n${rows}\n`;
}

function describeRejections({ rejectedCount, rejected, rowsTaken }: FileReceipt): string {
  const lines = rejected.map(({ index, code, message }) => `row ${index}: ${code}: ${message}`);
  const rest = rejectedCount - rejected.length;
  const more =
    rest > 0 ? [`and ${rest} more (the first ${FILE_REJECTIONS_MAX} since the last interruption are listed)`] : [];
  return `${[`${rejectedCount} of ${rowsTaken} rows were not valid and are not taken:`, ...lines, ...more].join('\n')}\n`;
}

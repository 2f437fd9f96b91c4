/**
 * Files with any names and any contents in a watched folder, with a real connector behind it. Each one that the folder
 * takes ends in done/ or failed/, the latter with a reason beside it; what is stored is what the progress counts; the
 * others stay untouched, and the input never stops.
 */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { connectorSchema } from '../../src/config/connector.js';
import { folderSchema } from '../../src/config/inputs.js';
import type { LiveConnector } from '../../src/connector/live-connector.js';
import { openLiveConnector } from '../../src/connector/open-connector.js';
import { isErrorCode } from '../../src/core/error-codes.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { FolderInput } from '../../src/inputs/folder.js';
import type { Delivery } from '../../src/inputs/input.js';
import { ConnectorDelivery } from '../../src/service/delivery.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import type { FuzzTarget } from './fuzz.js';
import { elements } from './json.js';
import { type ByteText, damaged, fromBytes, toBytes } from './mutation.js';
import { weighted } from './weighted.js';

interface DroppedFile {
  name: ByteText;
  body: ByteText;
  kind: 'file' | 'folder' | 'link';
}

export interface FilesCase {
  files: DroppedFile[];
}

const PATTERN = '*';
const INTERVAL_MS = 1000;
/** The longest name that file systems take. */
const NAME_MAX_BYTES = 255;

const utf8 = (text: string): ByteText => fromBytes(Buffer.from(text));
const stem = fc.oneof(
  fc
    .constantFrom(
      'a',
      'b',
      'A',
      'a b',
      '-rf',
      '~',
      '#',
      '%2e',
      "'",
      '"',
      'con',
      '\u00e9',
      'e\u0301',
      '\u{1f600}',
      'x'.repeat(200),
    )
    .map(utf8),
  fc.constantFrom(
    '\xff',
    '\xc3(',
    '\n',
    '\r',
    '\x01',
    '\\',
    '*',
    '[a]',
    '{a,b}',
    '$(id)',
    '`id`',
    '..a',
    'a.csv',
    '__proto__',
  ),
);
const extension = weighted<string>(
  [4, fc.constant('.csv')],
  [4, fc.constant('.json')],
  [1, fc.constantFrom('.ndjson', '.jsonl', '.CSV', '.txt', '.tmp', '.part', '', '.csv.part')],
  // Names like those of the notes, and endings that leave no room for a note's name behind them.
  [1, fc.constantFrom('.csv.reason.txt', '.csv.rejected.txt', '.json.reason.txt', `.${'x'.repeat(250)}`)],
);
const name = fc
  .tuple(weighted<string>([12, fc.constant('')], [1, fc.constant('.')]), stem, extension)
  .map((parts) => parts.join(''));

const body = weighted<ByteText>(
  [
    3,
    damaged(
      fc
        .array(fc.constantFrom('a/b,1', '"x\ny",2', 'a#,3', '"', ',4'), { maxLength: 5 })
        .map((rows) => Buffer.from(['topic,value', ...rows].join('\n'))),
    ),
  ],
  [
    3,
    damaged(
      fc
        .array(elements['json-to-mqtt']!, { maxLength: 3 })
        .map((items) => Buffer.from(JSON.stringify({ site: 's', items }))),
    ),
  ],
  [
    1,
    damaged(
      fc
        .array(elements['messages-to-mqtt']!, { maxLength: 3 })
        .map((list) => Buffer.from(list.map((one) => JSON.stringify(one)).join('\n'))),
    ),
  ],
  [1, fc.constantFrom('', '\n', '\xef\xbb\xbf', '\xff\xfea\0', 'topic\n', '{}', '[]', 'null')],
);

const filesCase: fc.Arbitrary<FilesCase> = fc.record({
  files: fc.array(
    fc.record({
      name,
      body,
      kind: weighted<DroppedFile['kind']>([20, fc.constant('file')], [1, fc.constantFrom('folder', 'link')]),
    }),
    { minLength: 1, maxLength: 5 },
  ),
});

class Subject {
  readonly cases = filesCase;
  readonly #path = join(temporaryFolder('fuzz-files'), 'drop');
  readonly #clock = new ManualClock();
  readonly #connector: LiveConnector;
  readonly #input: FolderInput;
  /** How much of each file is stored, as the progress says that is stored with it. */
  readonly #accepted = new Map<string, number>();

  constructor(connector: LiveConnector) {
    this.#connector = connector;
    mkdirSync(this.#path, { recursive: true });
    const options = {
      id: 'files',
      type: 'folder',
      path: this.#path,
      pattern: PATTERN,
      interval: INTERVAL_MS,
      settleTime: 0,
    };
    const inner = new ConnectorDelivery({ inputId: 'files', connectorIds: undefined, connectors: () => [connector] });
    const delivery: Delivery = {
      deliver: (content, source) => inner.deliver(content, source),
      fileProgress: (source) => inner.fileProgress(source),
      deliverFile: (content, file) =>
        inner.deliverFile(content, {
          ...file,
          onProgress: (progress) => {
            this.#accepted.set(progress.fileKey, progress.accepted);
            file.onProgress?.(progress);
          },
        }),
    };
    const config = folderSchema.parse(options);
    this.#input = new FolderInput({ config, delivery, clock: this.#clock, logger: SILENT_LOGGER });
    this.#input.start();
  }

  async check({ files }: FilesCase): Promise<string> {
    await this.#idle();
    this.#empty();
    const before = await this.#storedCount();
    const status = this.#input.status();
    this.#accepted.clear();
    const dropped = files.filter((file) => this.#drop(file));
    await this.#idle();
    for (let looks = 0; looks < 2 * files.length + 4; looks++) {
      this.#clock.advance(INTERVAL_MS);
      await this.#idle();
    }
    const accepted = [...this.#accepted.values()].reduce((sum, count) => sum + count, 0);
    assert.equal((await this.#storedCount()) - before, accepted, 'what is stored and what the progress counts');
    const left = readdirSync(this.#path, { encoding: 'buffer' }).filter((entry) => !isOutcomeFolder(entry));
    const forgotten = left.filter((entry) => isTakeable(entry) && lstatSync(this.#pathOf(entry)).isFile());
    assert.deepEqual(forgotten.map(String), [], `files that nobody takes: ${this.#input.status().description}`);
    const done = this.#checkFolder('done');
    const failed = this.#checkFolder('failed');
    const now = this.#input.status();
    assert.ok(now.state === 'running' || now.state === 'waiting' || now.state === 'failing', now.description);
    assert.equal(now.deliveredCount - status.deliveredCount, done);
    assert.equal(now.failedCount - status.failedCount, failed);
    assert.equal(left.length + done + failed, dropped.length, `left: ${left.join(', ')}`);
    this.#empty();
    return [done > 0 ? 'done' : '', failed > 0 ? 'failed' : '', left.length > 0 ? 'left' : '']
      .filter(Boolean)
      .join(', ');
  }

  /** Takes away what is left, also by a case that failed. */
  #empty(): void {
    for (const entry of readdirSync(this.#path, { encoding: 'buffer' })) {
      if (!isOutcomeFolder(entry)) rmSync(this.#pathOf(entry), { recursive: true });
    }
    for (const folder of ['done', 'failed']) {
      const path = join(this.#path, folder);
      if (existsSync(path)) for (const entry of readdirSync(path)) rmSync(join(path, entry));
    }
  }

  #pathOf(name: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.#path}/`), name]);
  }

  /** False for a name that the file system refuses, or that is there already. */
  #drop({ name, body, kind }: DroppedFile): boolean {
    const path = this.#pathOf(toBytes(name));
    const isPossible = !['', '.', '..'].includes(name) && name.length <= NAME_MAX_BYTES;
    if (!isPossible || existsSync(path)) return false;
    if (kind === 'folder') mkdirSync(path);
    else if (kind === 'link') symlinkSync('/etc/hostname', path);
    else writeFileSync(path, toBytes(body));
    return true;
  }

  /** How many files are in done/ or failed/; each in failed/ has its reason beside it. */
  #checkFolder(folder: 'done' | 'failed'): number {
    const path = join(this.#path, folder);
    if (!existsSync(path)) return 0;
    const names = readdirSync(path);
    const notes = names.filter((entry) => isNote(join(path, entry)));
    const count = names.length - notes.length;
    const reasons = notes.filter((entry) => entry.endsWith('.reason.txt'));
    if (folder === 'failed') assert.equal(reasons.length, count, `a failed file without a reason: ${names.join(', ')}`);
    return count;
  }

  async #idle(): Promise<void> {
    await eventually(() => this.#clock.waitsMs.length === 1, 'the input to wait for its next look');
  }

  async #storedCount(): Promise<number> {
    const { cache } = await this.#connector.status();
    const { command, alert, telemetry } = cache.waitingCounts;
    return command + alert + telemetry + cache.quarantinedCount;
  }

  async close(): Promise<void> {
    await this.#input.stop();
    await this.#connector.close(0);
  }
}

function isOutcomeFolder(name: Buffer): boolean {
  return ['done', 'failed'].includes(name.toString());
}

/** Whether the folder takes a file of this name: docs/inputs.md names what it leaves. */
function isTakeable(name: Buffer): boolean {
  return isUtf8(name) && !/^\.|\.(tmp|part)$/i.test(name.toString());
}

/** True for what the input writes beside a file; no file that is dropped here says the same. */
function isNote(path: string): boolean {
  const text = readFileSync(path, 'latin1');
  const code = /^\S+Z\n([A-Z_]+): ./.exec(text)?.[1];
  return path.endsWith('.rejected.txt')
    ? text.includes('rows were not valid')
    : code !== undefined && isErrorCode(code);
}

export const files: FuzzTarget<FilesCase> = {
  name: 'files',
  open: async () => {
    const config = connectorSchema.parse({
      id: 'fuzz',
      settings: { url: 'mqtt://127.0.0.1:1' },
      transformers: [
        { from: '*', type: 'csv-to-mqtt', topicColumn: 'topic' },
        { from: '*', type: 'json-to-mqtt', topic: 'doc/{$.site}', iterator: '$.items[*]' },
      ],
    });
    return new Subject(await openLiveConnector(config, { folder: temporaryFolder('fuzz-files') }));
  },
};

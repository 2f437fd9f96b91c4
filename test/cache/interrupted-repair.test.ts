/** A kill or a full disk in the middle of the repair of a damaged cache: the damage is told all the same. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import { openSqliteStore } from '../../src/cache/sqlite-store.js';
import { NorthError } from '../../src/core/error.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { folderOf, statesDuring, withFullDisk } from './interrupted-work.js';
import { append, execute, LIMITS, listAll, numbered, readAll, START_MS, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const FRAME_BYTES = 24 + 4096;
const LOG_HEADER_BYTES = 32;
const TEXTS = numbered('m', 120).map((text) => text.padEnd(700, '.'));

type Files = Map<string, Buffer>;

/** A cache of a process that was killed: half of it is in the database, and half of it in the log, or all in the log. */
function killedFiles(isCarriedOver: boolean): Files {
  const folder = temporaryFolder('living');
  let store = openIn(folder);
  const appendPart = (from: number, to: number): void => {
    for (let at = from; at < to; at += 4) execute(store, append('telemetry', TEXTS.slice(at, at + 4)));
  };
  appendPart(0, 60);
  execute(store, save(store, {}, { identity: { broker: 'b', clientId: 'c' } }));
  if (isCarriedOver) {
    store.close();
    store = openIn(folder);
  }
  appendPart(60, 120);
  const files: Files = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  store.close();
  return files;
}

function stoppedFiles(): Files {
  const folder = folderOf(killedFiles(true));
  openIn(folder).close();
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

const LOG = 'cache.db-wal';

/** Each kind of damage, done to a folder, and what is said of it. */
const DAMAGES: Record<string, { files: Files; harm: (folder: string) => void; said: RegExp }> = {
  'a log that is cut off': {
    files: killedFiles(true),
    harm: (folder) => truncateSync(join(folder, LOG), LOG_HEADER_BYTES + 40 * FRAME_BYTES + 1000),
    said: /log ends after .* lost: in each lane/s,
  },
  'a log that is gone': {
    files: killedFiles(true),
    harm: (folder) => rmSync(join(folder, LOG)),
    said: /log is gone.* lost: in each lane/s,
  },
  'a log with a damaged frame': {
    files: killedFiles(true),
    harm: (folder) => flip(folder, LOG, LOG_HEADER_BYTES + 30 * FRAME_BYTES + 500),
    said: /log is damaged/,
  },
  'a log that is damaged and cut off': {
    files: killedFiles(true),
    harm: (folder) => {
      flip(folder, LOG, LOG_HEADER_BYTES + 20 * FRAME_BYTES + 500);
      truncateSync(join(folder, LOG), LOG_HEADER_BYTES + 50 * FRAME_BYTES);
    },
    said: /log is damaged.*log ends after.* lost: in each lane/s,
  },
  'a database that is missing beside a log with everything': {
    files: killedFiles(false),
    harm: (folder) => rmSync(join(folder, 'cache.db')),
    said: /cache\.db is missing.*made again from it/,
  },
  'a database that is missing beside a log with a part': {
    files: killedFiles(true),
    harm: (folder) => rmSync(join(folder, 'cache.db')),
    said: /cache\.db is missing.*lacks pages/s,
  },
  'a database that is missing beside a log that is cut off': {
    files: killedFiles(true),
    harm: (folder) => {
      rmSync(join(folder, 'cache.db'));
      truncateSync(join(folder, LOG), LOG_HEADER_BYTES + 40 * FRAME_BYTES);
    },
    said: /cache\.db is missing.*log ends after.*lost: in each lane/s,
  },
  'a database that is missing after a stop in order': {
    files: stoppedFiles(),
    harm: (folder) => rmSync(join(folder, 'cache.db')),
    said: /cache\.db is missing or empty.*may be lost/,
  },
  'a database that is empty after a stop in order': {
    files: stoppedFiles(),
    harm: (folder) => truncateSync(join(folder, 'cache.db'), 0),
    said: /cache\.db is missing or empty.*may be lost/,
  },
  'a database that is cut off': {
    files: stoppedFiles(),
    harm: (folder) => truncateSync(join(folder, 'cache.db'), 60_000),
    said: /What can be read was taken over/,
  },
  'a database with a damaged format number': {
    files: stoppedFiles(),
    harm: (folder) => flip(folder, 'cache.db', 60),
    said: /header of cache\.db was damaged/,
  },
  'a database without its cursors beside a log that is cut off': {
    files: stoppedFiles(),
    harm: (folder) => {
      const db = new Database(join(folder, 'cache.db'));
      db.exec('DELETE FROM lane WHERE lane = 2');
      db.close();
      const copy = killedFiles(true);
      writeFileSync(join(folder, 'cache.db-shm'), copy.get('cache.db-shm')!);
    },
    said: /log is gone.*cannot be read.*lost: in each lane|log is gone.*lost: in each lane.*cannot be read/s,
  },
};

function flip(folder: string, name: string, at: number): void {
  const bytes = readFileSync(join(folder, name));
  bytes.writeUInt8(bytes[at]! ^ 0x20, at);
  writeFileSync(join(folder, name), bytes);
}

interface Outcome {
  delivered: readonly number[];
  aside: readonly { offset: number | undefined; count: number; code: string | undefined }[];
  findings: readonly string[];
  told: readonly string[];
  nextOffset: number;
  hasIdentity: boolean;
}

function open(folder: string): Outcome {
  const told: string[] = [];
  const store = openSqliteStore({
    folder,
    limits: LIMITS,
    wallMs: () => START_MS,
    onFound: (one) => told.push(one.message),
  });
  try {
    const messages = readAll(store, 'telemetry');
    for (const { offset, payload } of messages) assert.equal(payload, TEXTS[offset], `offset ${offset}`);
    return {
      delivered: messages.map(({ offset }) => offset),
      aside: listAll(store, 'quarantined').map(({ offset, count, code }) => ({ offset, count, code })),
      findings: store.status().findings.map(({ message }) => message),
      told,
      nextOffset: store.status().nextOffsets.telemetry,
      hasIdentity: store.identity() !== undefined,
    };
  } finally {
    store.close();
  }
}

/** Names of files that were kept may have another number. */
function unnumbered(texts: readonly string[]): string[] {
  return texts.map((text) => text.replace(/damaged-\d+/g, 'damaged-N')).sort();
}

/** The state after a repair that was interrupted is that after one that was not. */
function checkAfter(folder: string, expected: Outcome, said: RegExp, where: string): void {
  const after = open(folder);
  assert.match(after.findings.join('\n'), said, where);
  assert.deepEqual(unnumbered(after.findings), unnumbered(expected.findings), where);
  for (const part of ['delivered', 'aside', 'nextOffset', 'hasIdentity'] as const) {
    assert.deepEqual(after[part], expected[part], `${part}, ${where}`);
  }
  for (const [name] of after.findings.join(' ').matchAll(/cache\.db\.damaged-\d+(-wal)?/g)) {
    assert.ok(existsSync(join(folder, name)), `${name} is kept, ${where}`);
  }
  const left = readdirSync(folder).filter((name) => /repair|part|\.new/.test(name));
  assert.deepEqual(left, [], where);
  const again = open(folder);
  assert.deepEqual({ ...again, told: [] }, { ...after, told: [] }, `it is found once, ${where}`);
  assert.deepEqual(again.told, [], where);
}

describe('the repair of a cache', () => {
  for (const [name, { files, harm, said }] of Object.entries(DAMAGES)) {
    const damagedFolder = (): string => {
      const folder = folderOf(files);
      harm(folder);
      return folder;
    };

    test(`of ${name} hides and loses nothing when it is killed, whenever that is`, () => {
      const folder = damagedFolder();
      let expected: Outcome | undefined;
      const states = statesDuring(folder, () => {
        expected = open(folder);
      });
      assert.match(expected!.findings.join('\n'), said);
      assert.deepEqual(expected!.told, expected!.findings);
      assert.ok(states.length > 4, `${states.length} states`);
      for (const [index, state] of states.entries()) {
        const where = `killed in state ${index}, after ${state.calls.slice(-3).join(', ')}`;
        const copy = folderOf(state.files);
        // The repair of the interrupted repair is interrupted, too.
        let second: ReturnType<typeof statesDuring> = [];
        if (index % 6 === 3) second = statesDuring(copy, () => checkAfter(copy, expected!, said, where));
        else checkAfter(copy, expected!, said, where);
        rmSync(copy, { recursive: true });
        for (const [nested, state] of second.entries()) {
          if (nested % 6 !== index % 5) continue;
          const again = folderOf(state.files);
          checkAfter(again, expected!, said, `${where}, and then after ${state.calls.slice(-2).join(', ')}`);
          rmSync(again, { recursive: true });
        }
      }
    });

    test(`of ${name} hides and loses nothing when the disk becomes full, whenever that is`, () => {
      const expected = open(damagedFolder());
      for (let call = 0; ; call++) {
        const folder = damagedFolder();
        const isReserved = call % 2 === 1;
        // What can be given up lets the same start try once more.
        if (isReserved) writeFileSync(join(folder, 'cache.reserve'), '');
        const told: string[] = [];
        const failed = withFullDisk(call, () => {
          try {
            told.push(...open(folder).told);
          } catch (error) {
            assert.ok(error instanceof NorthError && error.code === 'CACHE_DISK_FULL', String(error));
          }
        });
        if (failed === undefined) break;
        const where = `with a full disk at ${failed}`;
        if (told.length > 0) assert.match(told.join('\n'), said, where);
        checkAfter(folder, expected, said, where);
        rmSync(folder, { recursive: true });
      }
    });
  }
});

describe('the rebuild of a cache that is in use', () => {
  test('hides and loses nothing when it is killed, whenever that is', () => {
    const folder = folderOf(stoppedFiles());
    const inUse = openIn(folder);
    const path = join(folder, 'cache.db');
    const bytes = readFileSync(path);
    for (const text of ['m40', 'm90']) {
      const at = bytes.indexOf(`${text}.`);
      assert.ok(at > 0);
      // The page that it is in, tree and all.
      bytes.fill(0xff, at - (at % 4096), at - (at % 4096) + 4096);
    }
    writeFileSync(path, bytes);
    const states = statesDuring(folder, () => readAll(inUse, 'telemetry'));
    inUse.close();
    assert.ok(states.length > 6, `${states.length} states`);
    assert.ok(states.at(-1)!.files.has('cache.db.damaged-1'), 'it was rebuilt');
    for (const { files, calls } of states) {
      const where = `killed after ${calls.slice(-3).join(', ')}`;
      const { delivered, findings, aside } = open(folderOf(files));
      const known = new Set(delivered);
      for (const { offset = 0, count } of aside) for (let index = 0; index < count; index++) known.add(offset + index);
      assert.deepEqual(
        TEXTS.flatMap((_text, offset) => (known.has(offset) ? [] : [offset])),
        [],
        where,
      );
      assert.ok(delivered.length < TEXTS.length && findings.length > 0, where);
    }
  });
});

/** Damage in the write-ahead log, which SQLite takes for the end of it and passes over in silence. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import { inspectLog } from '../../src/cache/log-check.js';
import { FRAME_BYTES, LOG_HEADER_BYTES, LogWriter } from '../../src/cache/write-ahead-log.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { append, execute, listAll, numbered, payloads, readAll, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const BATCHES = 25;
const PER_BATCH = 4;
const TOTAL = BATCHES * PER_BATCH;
const FILES = ['cache.db', 'cache.db-wal', 'cache.db-shm'];
const TEXTS = numbered('m', TOTAL).map((text) => text.padEnd(300, '.'));
const IDENTITY = { broker: 'b', clientId: 'c' };

/** The files of a process that was killed with everything in its log; its session knows a broker. */
function killedCache(): { folder: string; frames: number } {
  const living = temporaryFolder('living');
  const store = openIn(living);
  execute(store, save(store, {}, { identity: IDENTITY }));
  for (let batch = 0; batch < BATCHES; batch++) {
    execute(store, append('telemetry', TEXTS.slice(batch * PER_BATCH, (batch + 1) * PER_BATCH)));
  }
  const folder = temporaryFolder('killed');
  for (const file of FILES) copyFileSync(join(living, file), join(folder, file));
  store.close();
  return { folder, frames: (readFileSync(join(folder, 'cache.db-wal')).length - LOG_HEADER_BYTES) / FRAME_BYTES };
}

function copyOf(folder: string, files: readonly string[] = FILES): string {
  const copy = temporaryFolder('copy');
  for (const file of files) copyFileSync(join(folder, file), join(copy, file));
  return copy;
}

function changeLog(folder: string, change: (bytes: Buffer) => void): void {
  const path = join(folder, 'cache.db-wal');
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
}

function flip(folder: string, at: number): void {
  changeLog(folder, (bytes) => bytes.writeUInt8(bytes[at]! ^ 0x10, at));
}

const frameStart = (index: number): number => LOG_HEADER_BYTES + index * FRAME_BYTES;

/** What is delivered and what is set aside, by offset; both together have to be everything. */
function openAndCount(folder: string) {
  const store = openIn(folder);
  const delivered = readAll(store, 'telemetry');
  for (const { offset, payload } of delivered) assert.equal(payload, TEXTS[offset], `offset ${offset}`);
  const aside = listAll(store, 'quarantined').map(({ offset, count, code }) => ({ offset, count, code }));
  const { findings, nextOffsets } = store.status();
  const identity = store.identity();
  store.close();
  const covered = new Set(delivered.map(({ offset }) => offset));
  for (const { offset, count } of aside) {
    for (let index = 0; index < count; index++) covered.add((offset ?? TOTAL) + index);
  }
  return { delivered, aside, covered, findings: findings.map(({ message }) => message), nextOffsets, identity };
}

describe('a write-ahead log with damage in it', () => {
  const { folder, frames } = killedCache();

  test('is whole after a kill, with its index and without', () => {
    assert.ok(frames > 60, `${frames} frames`);
    for (const files of [FILES, FILES.slice(0, 2)]) {
      const { delivered, findings, identity } = openAndCount(copyOf(folder, files));
      assert.equal(delivered.length, TOTAL);
      assert.deepEqual(findings, []);
      assert.deepEqual(identity, IDENTITY);
    }
  });

  test('loses at most what the damaged bytes held, wherever a frame is damaged, and everything is accounted for', () => {
    let seed = 3;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % below;
    };
    for (const [files, last] of [
      [FILES, frames],
      // Without the index, a damage in the last transactions cannot be told from a torn end.
      [FILES.slice(0, 2), frames - 12],
    ] as const) {
      for (let round = 0; round < 30; round++) {
        const copy = copyOf(folder, files);
        const frame = 8 + random(last - 8);
        const at = frameStart(frame) + 24 + random(4096);
        flip(copy, at);
        const damaged = readFileSync(join(copy, 'cache.db-wal'));
        const { delivered, covered, findings, nextOffsets } = openAndCount(copy);
        const where = `frame ${frame}, byte ${at}, ${files.length} files: ${findings.join(' | ')}`;
        assert.equal(covered.size, TOTAL, where);
        assert.ok(delivered.length >= TOTAL - 2 * PER_BATCH, `${delivered.length} delivered, ${where}`);
        assert.ok(nextOffsets.telemetry >= TOTAL, where);
        assert.match(
          findings[0] ?? 'nothing',
          new RegExp(`log is damaged \\(frame ${frame + 1}\\).*damaged-1-wal`),
          where,
        );
        assert.deepEqual(readFileSync(join(copy, 'cache.db.damaged-1-wal')), damaged, 'the log is kept as it was');
        assert.equal(openAndCount(copy).findings.length, findings.length, 'it is found once');
      }
    }
  });

  test('that is damaged in several places and ways is accounted for, message by message', () => {
    let seed = 991;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return Math.floor(seed / 7) % below;
    };
    for (let round = 0; round < 60; round++) {
      const copy = copyOf(folder);
      const done: string[] = [];
      for (let hits = 1 + random(4); hits > 0; hits--) {
        const start = frameStart(8 + random(frames - 8));
        const kind = random(6);
        if (kind <= 2) flip(copy, start + 24 + random(4096));
        else if (kind === 3) flip(copy, start + random(24));
        else if (kind === 4) flip(copy, random(LOG_HEADER_BYTES));
        else {
          const sector = Math.floor((start + random(4096)) / 512) * 512;
          changeLog(copy, (bytes) => bytes.fill(0, sector, sector + 512));
        }
        done.push(`${kind} at ${start}`);
      }
      const { covered, findings, nextOffsets } = openAndCount(copy);
      const [, lostFrom = TOTAL] = /telemetry (\d+)\./.exec(findings.join(' ')) ?? [];
      const missing = Array.from({ length: Number(lostFrom) }, (_unused, offset) => offset).filter(
        (offset) => !covered.has(offset),
      );
      assert.deepEqual(missing, [], `round ${round}, ${done.join(', ')}: ${findings.join(' | ')}`);
      assert.ok(nextOffsets.telemetry >= TOTAL, `round ${round}: no offset is given twice`);
    }
  });

  test('is read behind a damaged frame header and behind a damaged header of its own', () => {
    for (const at of [frameStart(30) + 1, frameStart(30) + 9, frameStart(30) + 17, 9, 17, 25]) {
      const copy = copyOf(folder);
      flip(copy, at);
      const { delivered, covered, findings } = openAndCount(copy);
      assert.equal(covered.size, TOTAL, `byte ${at}: ${findings.join(' | ')}`);
      assert.ok(delivered.length >= TOTAL - 2 * PER_BATCH, `byte ${at}: ${delivered.length} delivered`);
      assert.match(findings[0] ?? 'nothing', /log is damaged/, `byte ${at}`);
    }
  });

  test('that is cut off says so when the index knows of more; no offset is given twice, and the session is forgotten', () => {
    for (const size of [0, 20, LOG_HEADER_BYTES, frameStart(20) + 100, frameStart(frames - 1)]) {
      const copy = copyOf(folder);
      truncateSync(join(copy, 'cache.db-wal'), size);
      const { delivered, findings, nextOffsets, identity } = openAndCount(copy);
      assert.match(findings[0] ?? 'nothing', /write-ahead log (ends after|is gone)/, `cut at ${size}`);
      assert.match(
        findings.join(' '),
        /from this offset on, as far as there were any: command 0, alert 0, telemetry \d+\./,
      );
      assert.ok(delivered.length < TOTAL);
      assert.ok(nextOffsets.telemetry > 2 ** 40);
      assert.equal(identity, undefined);
      const store = openIn(copy);
      const { ranges } = execute(store, append('telemetry', ['new'])) as unknown as { ranges: { from: number }[] };
      assert.ok(ranges[0]!.from > 2 ** 40);
      assert.equal(payloads(readAll(store, 'telemetry')).at(-1), 'new');
      assert.equal(store.status().waitingCounts.telemetry, delivered.length + 1);
      store.close();
    }
  });

  test('that ends in a torn transaction is what a power cut leaves, and nothing is reported', () => {
    for (const cut of [frames - 1, frames - 2, frames - 3, 40, 20]) {
      const copy = copyOf(folder, FILES.slice(0, 2));
      truncateSync(join(copy, 'cache.db-wal'), frameStart(cut) + 1000);
      assert.deepEqual(openAndCount(copy).findings, [], `cut in frame ${cut}`);
    }
    // The last frame, with its commit, is there; one before it was not written.
    const copy = copyOf(folder, FILES.slice(0, 2));
    changeLog(copy, (bytes) => bytes.fill(0, frameStart(frames - 2), frameStart(frames - 1)));
    assert.deepEqual(openAndCount(copy).findings, []);
  });

  test('keeps a last commit that made the file larger, though its own frame is damaged', () => {
    for (let back = 1; back <= 3; back++) {
      const copy = copyOf(folder);
      flip(copy, 18);
      flip(copy, frameStart(frames - back) + 24 + 4000);
      const { delivered, covered, nextOffsets } = openAndCount(copy);
      assert.equal(covered.size, TOTAL);
      assert.ok(delivered.length >= TOTAL - PER_BATCH);
      assert.ok(nextOffsets.telemetry >= TOTAL);
    }
  });

  test('that is damaged twice without its index begins anew behind what is left, because its end may be damaged, too', () => {
    const copy = copyOf(folder, FILES.slice(0, 2));
    flip(copy, frameStart(30) + 500);
    flip(copy, frameStart(frames - 2) + 500);
    const { delivered, findings, nextOffsets, identity } = openAndCount(copy);
    assert.ok(delivered.length >= TOTAL - 3 * PER_BATCH && delivered.length < TOTAL, `${delivered.length} delivered`);
    assert.match(findings[0]!, /may have been committed/);
    assert.match(findings[1]!, new RegExp(`telemetry ${TOTAL - PER_BATCH}\\.`));
    assert.ok(nextOffsets.telemetry > 2 ** 40);
    assert.equal(identity, undefined);
  });

  test('with an index that is garbage, or of another log, is read as SQLite reads it', () => {
    const other = killedCache().folder;
    for (const index of [Buffer.alloc(32_768, 7), Buffer.alloc(10), readFileSync(join(other, 'cache.db-shm'))]) {
      const copy = copyOf(folder, FILES.slice(0, 2));
      writeFileSync(join(copy, 'cache.db-shm'), index);
      const { delivered, findings } = openAndCount(copy);
      assert.deepEqual(findings, []);
      assert.equal(delivered.length, TOTAL);
    }
  });

  test('without its database makes the cache again when all pages are in it, and gives what they hold when not', () => {
    const whole = copyOf(folder, ['cache.db-wal', 'cache.db-shm']);
    const { delivered, findings, identity } = openAndCount(whole);
    assert.equal(delivered.length, TOTAL);
    assert.match(findings[0]!, /cache\.db is missing.*made again from it; the log is kept as cache\.db\.damaged-1-wal/);
    assert.deepEqual(identity, IDENTITY);
    assert.ok(existsSync(join(whole, 'cache.db.damaged-1-wal')));

    const part = copyOf(folder, ['cache.db-wal']);
    // As if the older pages had been carried over: what is left is the end of the log.
    changeLog(part, (bytes) => {
      const log = [bytes.subarray(16, 24), ...framesOf(bytes).slice(-20)];
      bytes.fill(0);
      rewriteLog(log[0]!, log.slice(1)).copy(bytes);
    });
    const rest = openAndCount(part);
    assert.ok(rest.delivered.length > 0 && rest.delivered.length < TOTAL, `${rest.delivered.length} delivered`);
    assert.equal(rest.covered.size >= TOTAL - rest.delivered[0]!.offset, true, rest.findings.join(' | '));
    assert.ok(rest.findings.length > 1);
  });

  test('a cache whose list of findings is damaged, too, is rebuilt, and the findings are not lost', () => {
    const living = temporaryFolder('living');
    let store = openIn(living);
    execute(store, append('telemetry', TEXTS.slice(0, 50)));
    store.close();
    store = openIn(living);
    execute(store, append('telemetry', TEXTS.slice(50)));
    const copy = copyOf(living);
    store.close();
    copyFileSync(join(copy, 'cache.db'), join(copy, 'looked-at.db'));
    const db = new Database(join(copy, 'looked-at.db'));
    const root = db.prepare<[], number>("SELECT rootpage FROM sqlite_schema WHERE name = 'finding'").pluck().get()!;
    db.close();
    rmSync(join(copy, 'cache.db-wal'));
    const bytes = readFileSync(join(copy, 'cache.db'));
    bytes.writeUInt8(0xff, (root - 1) * 4096);
    writeFileSync(join(copy, 'cache.db'), bytes);
    const { delivered, findings } = openAndCount(copy);
    assert.equal(delivered.length, 50);
    assert.match(findings.join(' '), /log is gone.*telemetry 50\./);
    assert.match(findings.join(' '), /cache\.db is damaged.*cache\.db\.damaged-1/);
  });

  test('a database that is gone without a log is reported, and the producer side goes on', () => {
    const copy = copyOf(folder, ['cache.db-shm']);
    const { delivered, findings } = openAndCount(copy);
    assert.deepEqual(delivered, []);
    assert.match(findings[0]!, /cache\.db is missing or empty; what waited in it is gone/);
    const fresh = temporaryFolder('fresh');
    assert.deepEqual(openAndCount(fresh).findings, []);
    assert.deepEqual(readdirSync(fresh).sort(), ['cache.db', 'cache.id']);
  });
});

function framesOf(log: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = LOG_HEADER_BYTES; at + FRAME_BYTES <= log.length; at += FRAME_BYTES) {
    frames.push(Buffer.from(log.subarray(at, at + FRAME_BYTES)));
  }
  return frames;
}

function rewriteLog(salt: Buffer, frames: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  const writer = new LogWriter(Buffer.from(salt), (bytes) => void parts.push(Buffer.from(bytes)));
  for (const frame of frames) writer.add(frame.subarray(0, 24), frame.subarray(24));
  return Buffer.concat(parts);
}

describe('what rolled back and torn transactions leave behind the end of a log', () => {
  const SALT = Buffer.from('saltsalt');
  /** Frames of a transaction, the last of them its commit. */
  const transaction = (page: number, count: number): Buffer[] =>
    Array.from({ length: count }, (_unused, index) => {
      const frame = Buffer.alloc(FRAME_BYTES, page);
      frame.writeUInt32BE(page + index, 0);
      frame.writeUInt32BE(index === count - 1 ? 100 : 0, 4);
      return frame;
    });
  const inspect = (log: Buffer) => {
    const path = join(temporaryFolder('log'), 'cache.db');
    writeFileSync(`${path}-wal`, log);
    const found = inspectLog(path);
    rmSync(`${path}-wal`);
    return found;
  };

  test('is never taken for commits', () => {
    const good = [...transaction(1, 3), ...transaction(4, 2)];
    // Each was written from the same place on, and the later ones were shorter.
    const attempts = [10, 7, 4].map((count, index) =>
      rewriteLog(SALT, [...good, ...transaction(10 * (index + 1), count)]),
    );
    let log = Buffer.alloc(0);
    for (const attempt of attempts) log = Buffer.concat([attempt, log.subarray(attempt.length)]);
    assert.equal(inspect(log), undefined, 'the last one was committed');
    const unfinished = rewriteLog(SALT, [...good, ...transaction(50, 3).slice(0, 2)]);
    assert.equal(inspect(Buffer.concat([unfinished, log.subarray(unfinished.length)])), undefined);
    const foreign = rewriteLog(Buffer.from('ofothers'), [...good, ...good, ...good]);
    assert.equal(inspect(Buffer.concat([unfinished, foreign.subarray(unfinished.length)])), undefined);
  });

  test('does not hide a damage, nor is it taken over with what is behind one', () => {
    const log = rewriteLog(SALT, [...transaction(1, 3), ...transaction(4, 2), ...transaction(6, 2)]);
    const longer = rewriteLog(SALT, [...transaction(1, 3), ...transaction(4, 2), ...transaction(30, 6)]);
    const mixed = Buffer.concat([log, longer.subarray(log.length)]);
    mixed.writeUInt8(99, frameStart(1) + 500);
    assert.deepEqual(inspect(mixed), {
      text:
        'the write-ahead log is damaged (frame 2), and what stands behind that was taken over; what stands behind its ' +
        'frame 7 is not whole, and may have been committed',
      isLossy: true,
      mendedTo: 7,
    });
  });
});

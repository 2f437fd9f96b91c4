/** The format of the cache: its version, and the header that says it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import { APPLICATION_ID, SCHEMA_VERSION } from '../../src/cache/schema.js';
import type { SessionProgress } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { append, durableStateOf, execute, listAll, numbered, payloads, readAll, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const HEADER_BYTES = 100;
/** Where the header has them [https://www.sqlite.org/fileformat2.html, section 1.3]. */
const USER_VERSION_AT = 60;
const APPLICATION_ID_AT = 68;
const TEXTS = numbered('message-', 30);
const IDENTITY = { broker: 'b', clientId: 'c' };

/** A closed cache with waiting messages and a session. */
function closedCache(): string {
  const folder = temporaryFolder('format');
  const store = openIn(folder);
  execute(store, append('telemetry', TEXTS));
  execute(store, save(store, { telemetry: { firstUnsettled: 4, boundOffset: 9 } }, { identity: IDENTITY }));
  store.close();
  return folder;
}

function changeHeader(folder: string, change: (bytes: Buffer) => void): void {
  const path = join(folder, 'cache.db');
  const bytes = readFileSync(path);
  change(bytes);
  writeFileSync(path, bytes);
}

function runSql(folder: string, sql: string): void {
  const db = new Database(join(folder, 'cache.db'));
  db.exec(sql);
  db.close();
}

function labelOf(folder: string): unknown[] {
  const db = new Database(join(folder, 'cache.db'), { readonly: true });
  const meta = db.prepare("SELECT value FROM meta WHERE key = 'version'").pluck().get();
  const label = [db.pragma('user_version', { simple: true }), db.pragma('application_id', { simple: true }), meta];
  db.close();
  return label;
}

const LABEL = [SCHEMA_VERSION, APPLICATION_ID, String(SCHEMA_VERSION)];

describe('one flipped bit in the header of the database', () => {
  const whole = readFileSync(join(closedCache(), 'cache.db'));

  const openFlipped = (at: number, bit: number): string[] => {
    const folder = temporaryFolder('flipped');
    writeFileSync(join(folder, 'cache.db'), whole);
    changeHeader(folder, (bytes) => bytes.writeUInt8(bytes[at]! ^ (1 << bit), at));
    const store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), TEXTS, `byte ${at}, bit ${bit}`);
    assert.equal(store.status().waitingCounts.telemetry, TEXTS.length - 4, `byte ${at}, bit ${bit}`);
    assert.deepEqual(store.identity(), IDENTITY);
    execute(store, append('telemetry', ['next']));
    const findings = store.status().findings.map(({ message }) => message);
    store.close();
    assert.deepEqual(labelOf(folder), LABEL, `byte ${at}, bit ${bit}`);
    rmSync(folder, { recursive: true });
    return findings;
  };

  test('makes no cache unusable and loses nothing, whichever byte it is in', () => {
    for (let at = 0; at < HEADER_BYTES; at++) openFlipped(at, (at * 5 + 2) % 8);
  });

  test('is mended in its place and reported when it says another format or owner', () => {
    for (const start of [USER_VERSION_AT, APPLICATION_ID_AT]) {
      for (let bit = 0; bit < 32; bit++) {
        const findings = openFlipped(start + (bit >> 3), bit & 7);
        assert.equal(findings.length, 1, findings.join(' | '));
        assert.match(findings[0]!, /The header of cache\.db was damaged.*nothing is lost/);
      }
    }
  });
});

describe('the version of the format', () => {
  test('of a damaged table is put right from the header', () => {
    for (const text of ['9', 'x', '', '0']) {
      const folder = closedCache();
      runSql(folder, `UPDATE meta SET value = '${text}' WHERE key = 'version'`);
      const store = openIn(folder);
      assert.deepEqual(payloads(readAll(store, 'telemetry')), TEXTS);
      const findings = store.status().findings.map(({ message }) => message);
      assert.equal(findings.length, 1, findings.join(' | '));
      assert.match(findings[0]!, /The table meta of cache\.db was damaged/);
      store.close();
      assert.deepEqual(labelOf(folder), LABEL);
    }
  });

  test('1 stood in the header alone; such a cache becomes one of this version, with all that is in it', () => {
    const folder = closedCache();
    const before = openIn(folder);
    const state = durableStateOf(before);
    before.close();
    runSql(folder, "DELETE FROM meta WHERE key = 'version'; PRAGMA user_version = 1");
    const store = openIn(folder);
    assert.deepEqual(durableStateOf(store), state);
    assert.deepEqual(store.status().findings, []);
    store.close();
    assert.deepEqual(labelOf(folder), LABEL);
  });

  test('1 with a damaged header is known for what it was', () => {
    const folder = closedCache();
    runSql(folder, "DELETE FROM meta WHERE key = 'version'; PRAGMA user_version = 1");
    changeHeader(folder, (bytes) => bytes.writeUInt8(0x40, USER_VERSION_AT));
    const store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), TEXTS);
    assert.match(store.status().findings[0]!.message, /The format is 1;/);
    store.close();
    assert.deepEqual(labelOf(folder), LABEL);
  });

  test('that is newer in both places is refused, also when they name different ones, and nothing is changed', () => {
    for (const [header, table] of [
      [SCHEMA_VERSION + 1, SCHEMA_VERSION + 1],
      [SCHEMA_VERSION + 1, SCHEMA_VERSION + 2],
    ]) {
      const folder = closedCache();
      runSql(folder, `UPDATE meta SET value = '${table}' WHERE key = 'version'; PRAGMA user_version = ${header}`);
      const bytes = readFileSync(join(folder, 'cache.db'));
      assert.throws(() => openIn(folder), { code: 'CACHE_NEWER' });
      assert.deepEqual(readFileSync(join(folder, 'cache.db')), bytes);
      assert.deepEqual(
        readdirSync(folder).filter((name) => /damaged|repair|new|part/.test(name)),
        [],
      );
    }
  });
});

test('a file with neither a mark nor a format that can be is taken over as far as it can be read', () => {
  const folder = closedCache();
  runSql(
    folder,
    "UPDATE meta SET value = 'x' WHERE key = 'version'; PRAGMA user_version = 0; PRAGMA application_id = 0",
  );
  const store = openIn(folder);
  assert.deepEqual(payloads(readAll(store, 'telemetry')), TEXTS);
  assert.match(store.status().findings[0]!.message, /no cache.*damaged-1/);
  store.close();
});

describe('runs of received messages that are settled, because their exchanges are still open,', () => {
  const received: SessionProgress['received'] = [
    { lane: 'telemetry', from: 1, to: 2 },
    { lane: 'telemetry', from: 12, to: 13 },
    { lane: 'telemetry', from: 5, to: 8 },
  ];

  function cacheWithOpenExchanges(): string {
    const folder = closedCache();
    const store = openIn(folder);
    const settled = [{ from: 11, to: 14 }];
    const request = save(store, { telemetry: { firstUnsettled: 4, boundOffset: 20, settled } });
    execute(store, { ...request, progress: { ...request.progress, received } });
    store.close();
    return folder;
  }

  test('are stored, listed and opened as they are', () => {
    const store = openIn(cacheWithOpenExchanges());
    assert.deepEqual(store.progress().received, received);
    assert.equal(store.status().waitingCounts.telemetry, TEXTS.length - 4 - 3);
    assert.deepEqual(
      listAll(store, 'waiting').map(({ offset }) => offset),
      [4, 5, 6, 7, 8, 9, 10, ...Array.from({ length: 16 }, (_unused, index) => 14 + index)],
    );
    store.close();
  });

  test('come through the rebuild of a damaged file', () => {
    for (const harm of [
      (folder: string) => changeHeader(folder, (bytes) => bytes.fill(0, 0, HEADER_BYTES)),
      (folder: string) => runSql(folder, 'DROP TABLE quarantine'),
    ]) {
      const folder = cacheWithOpenExchanges();
      harm(folder);
      const store = openIn(folder);
      assert.ok(store.status().findings.length > 0);
      assert.deepEqual(store.progress().received, received);
      assert.deepEqual(store.identity(), IDENTITY);
      assert.deepEqual(store.progress().lanes.telemetry.settled, [{ from: 11, to: 14 }]);
      store.close();
    }
  });
});

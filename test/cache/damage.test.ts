import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import { isIntact } from '../../src/cache/batch-table.js';
import { DamagedSource } from '../../src/cache/damaged-source.js';
import { SCHEMA_VERSION } from '../../src/cache/schema.js';
import type { Store } from '../../src/cache/store.js';
import type { Lane } from '../../src/core/lane.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import {
  append,
  appended,
  batch,
  draft,
  durableStateOf,
  execute,
  LIMITS,
  listAll,
  listedPayloads,
  numbered,
  payloads,
  readAll,
  START_MS,
  save,
} from './requests.js';
import { copyCrashed, openIn } from './sqlite-subject.js';

const PAGE = 4096;

/** A closed cache with these telemetry messages, in one batch per list. */
function cacheWith(batches: readonly (readonly string[])[], prepare: (store: Store) => void = () => undefined): string {
  const folder = temporaryFolder('damage');
  const store = openIn(folder);
  for (const texts of batches) execute(store, append('telemetry', texts));
  prepare(store);
  store.close();
  return folder;
}

function changeFile(folder: string, change: (bytes: Buffer) => Buffer | undefined): void {
  const path = join(folder, 'cache.db');
  const bytes = readFileSync(path);
  writeFileSync(path, change(bytes) ?? bytes);
}

/** Changes bytes at the place of a text that is in the file exactly once. */
function changeAt(folder: string, text: string, change: (bytes: Buffer, at: number) => void): void {
  changeFile(folder, (bytes) => {
    const at = bytes.indexOf(text);
    assert.ok(at > 0 && bytes.indexOf(text, at + 1) < 0, `"${text}" is once in the file`);
    change(bytes, at);
    return undefined;
  });
}

function runSql(folder: string, sql: string): void {
  const db = new Database(join(folder, 'cache.db'));
  db.exec(sql);
  db.close();
}

function unreadable(store: Store) {
  return listAll(store, 'quarantined')
    .filter(({ code }) => code === 'MESSAGE_UNREADABLE')
    .map(({ lane, offset, count }) => ({ lane, offset, count }));
}

const TEXTS = numbered('message-', 20).map((text) => text.padEnd(40, '.'));

describe('a batch with damaged bytes', () => {
  test('loses only the message whose payload was changed, and says which', () => {
    const folder = cacheWith([TEXTS, ['behind']]);
    changeAt(folder, 'message-7.', (bytes, at) => bytes.writeUInt8(bytes[at]! ^ 4, at));
    let store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), [...TEXTS.filter((_, index) => index !== 7), 'behind']);
    assert.deepEqual(unreadable(store), [{ lane: 'telemetry', offset: 7, count: 1 }]);
    const [entry] = listAll(store, 'quarantined');
    assert.match(Buffer.from(entry!.record).toString('latin1'), /iessage-7\./, 'its bytes are kept');
    assert.match(store.status().findings[0]!.message, /offset 7/);
    assert.equal(store.status().waitingCounts.telemetry, 20);
    execute(store, { kind: 'retry', which: { all: true }, atMs: START_MS });
    assert.equal(unreadable(store).length, 1, 'damaged bytes are never published');
    store.close();
    store = openIn(folder);
    assert.equal(store.status().findings.length, 1, 'the finding is kept, and not made twice');
    assert.equal(readAll(store, 'telemetry').length, 20);
    execute(store, save(store, { telemetry: { firstUnsettled: 21 } }));
    assert.equal(store.status().waitingSizeBytes, 0);
    store.close();
  });

  test('finds the next message behind one whose size was changed', () => {
    const folder = cacheWith([TEXTS]);
    changeAt(folder, 'message-7.', (bytes, at) => bytes.writeUInt32BE(77_777, at - 16 - 't/telemetry'.length));
    const store = openIn(folder);
    assert.deepEqual(
      payloads(readAll(store, 'telemetry')),
      TEXTS.filter((_, index) => index !== 7),
    );
    assert.deepEqual(unreadable(store), [{ lane: 'telemetry', offset: 7, count: 1 }]);
    store.close();
  });

  test('loses the messages of a sector that was overwritten, and no others', () => {
    const folder = cacheWith([TEXTS]);
    changeAt(folder, 'message-7.', (bytes, at) => bytes.fill(0xa5, at, at + 200));
    const store = openIn(folder);
    const left = readAll(store, 'telemetry');
    assert.deepEqual(
      left.map(({ offset }) => offset),
      [...Array(7).keys(), ...Array.from({ length: 9 }, (_, index) => index + 11)],
    );
    for (const { offset, payload } of left) assert.equal(payload, TEXTS[offset]);
    assert.deepEqual(unreadable(store), [{ lane: 'telemetry', offset: 7, count: 4 }]);
    assert.equal(store.status().quarantinedCount, 4);
    store.close();
  });

  test('is the same for the list, for quarantine and for the archive', () => {
    const limits = { ...LIMITS, archiveEnabled: true };
    const folder = cacheWith([TEXTS]);
    changeAt(folder, 'message-7.', (bytes, at) => bytes.writeUInt8(0, at));
    const whole = TEXTS.filter((_, index) => index !== 7);
    const store = openIn(folder, limits);
    assert.deepEqual(listedPayloads(store, 'waiting'), whole);
    const quarantine = [6, 7, 8].map((offset) => ({ lane: 'telemetry' as const, offset, code: 'X', reason: 'x' }));
    execute(store, save(store, { telemetry: { firstUnsettled: 20 } }, { quarantine }));
    assert.deepEqual(
      listAll(store, 'quarantined').map(({ offset, code }) => [offset, code]),
      [
        [7, 'MESSAGE_UNREADABLE'],
        [6, 'X'],
        [8, 'X'],
      ],
    );
    assert.deepEqual(
      listedPayloads(store, 'archived'),
      whole.filter((_, index) => index !== 6 && index !== 7),
    );
    assert.equal(store.status().archivedCount, 17);
    store.close();
  });

  test('needs no guess when only a column of the row was changed', () => {
    for (const change of [
      'count = count + 1024',
      'accepted_at_ms = accepted_at_ms - 4096',
      'checksum = checksum + 1',
      'start_bytes = start_bytes + 8',
    ]) {
      const folder = cacheWith([['first'], TEXTS, ['last']]);
      runSql(folder, `UPDATE batch SET ${change} WHERE count = 20`);
      const store = openIn(folder);
      assert.deepEqual(payloads(readAll(store, 'telemetry')), ['first', ...TEXTS, 'last'], change);
      assert.deepEqual(store.read('telemetry', 1, 1)[0]!.acceptedAtMs, START_MS, change);
      assert.equal(store.status().findings.length, 1);
      assert.deepEqual(unreadable(store), []);
      store.close();
    }
  });

  test('is found again when its key was changed', () => {
    for (const distance of [2 ** 20, 2 ** 45]) {
      const folder = cacheWith([['first'], TEXTS, ['last']]);
      runSql(folder, `UPDATE batch SET key = key + ${distance} WHERE count = 20`);
      const store = openIn(folder);
      assert.deepEqual(payloads(readAll(store, 'telemetry')), ['first', ...TEXTS, 'last'], `moved by ${distance}`);
      assert.ok(existsSync(join(folder, 'cache.db.damaged-1')));
      store.close();
    }
  });

  test('is put together again when the chain of its pages is broken', () => {
    const many = numbered('message-', 1500).map((text) => text.padEnd(40, '.'));
    const folder = cacheWith([['first'], many, ['last']]);
    changeAt(folder, 'message-700.', (bytes, at) => bytes.fill(0xff, at - (at % PAGE), at - (at % PAGE) + 4));
    const store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['first', ...many, 'last']);
    assert.deepEqual(unreadable(store), []);
    assert.ok(store.status().findings.length > 0);
    store.close();
  });

  test('that has vanished from the tree is reported with its offsets', () => {
    const folder = cacheWith([['first'], TEXTS, ['last']]);
    runSql(folder, 'DELETE FROM batch WHERE count = 20; VACUUM');
    const store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['first', 'last']);
    assert.deepEqual(unreadable(store), [{ lane: 'telemetry', offset: 1, count: 20 }]);
    assert.match(
      store
        .status()
        .findings.map(({ message }) => message)
        .join('\n'),
      /offsets 1 to 20/,
    );
    assert.equal(store.status().waitingCounts.telemetry, 2);
    store.close();
  });
});

describe('a damaged file', () => {
  /** Ends in a state of every kind: settled, in flight, in quarantine, on several lanes. */
  function richCache(): { folder: string; waiting: Record<Lane, Map<number, string>> } {
    const many = Array.from({ length: 30 }, (_, index) =>
      numbered(`b${index}-`.padEnd(60, 'y'), [1, 30, 200, 500][index % 4]!),
    );
    const folder = cacheWith(many, (store) => {
      for (let index = 0; index < 25; index++) execute(store, append('alert', [`alert-${index}`]));
      execute(store, {
        ...append('command', ['order'], { position: { source: 'files', value: '42' } }),
        quarantined: [draft('alert', 'q', 'a/b')],
      });
      const settled = [{ from: 510, to: 520 }];
      execute(
        store,
        save(
          store,
          { telemetry: { firstUnsettled: 500, boundOffset: 600, settled } },
          { identity: { broker: 'b', clientId: 'c' } },
        ),
      );
    });
    const store = openIn(folder);
    const mapOf = (lane: Lane) =>
      new Map(
        readAll(store, lane)
          .filter(({ offset }) => lane !== 'telemetry' || (offset >= 500 && (offset < 510 || offset >= 520)))
          .map(({ offset, payload }) => [offset, payload]),
      );
    const waiting = { command: mapOf('command'), alert: mapOf('alert'), telemetry: mapOf('telemetry') };
    store.close();
    return { folder, waiting };
  }

  /** Asserts that nothing false is delivered, that what is missing is reported, and that the cache is usable again. */
  function checkAfterDamage(
    folder: string,
    waiting: Record<Lane, Map<number, string>>,
    what: string,
  ): { lost: number } {
    const store = openIn(folder);
    let lost = 0;
    for (const lane of ['command', 'alert', 'telemetry'] as const) {
      const read = readAll(store, lane);
      let last = -1;
      for (const { offset, payload } of read) {
        assert.ok(offset > last, `${what}: offsets ascend`);
        last = offset;
        const expected = waiting[lane].get(offset);
        if (expected !== undefined) assert.equal(payload, expected, `${what}: ${lane} ${offset}`);
        else assert.ok(lane === 'telemetry' && offset < 520, `${what}: ${lane} ${offset} does not exist`);
      }
      const there = new Set(read.map(({ offset }) => offset));
      for (const offset of waiting[lane].keys()) if (!there.has(offset)) lost++;
    }
    if (lost > 0) {
      assert.ok(store.status().findings.length > 0, `${what}: ${lost} are missing and nothing is said`);
      const reported = unreadable(store).reduce((sum, { count }) => sum + count, 0);
      const isNothingLeft = store.status().findings.some(({ message }) => message.includes('progress'));
      assert.ok(reported >= lost || isNothingLeft, `${what}: ${lost} are missing, ${reported} are reported`);
    }
    const { from } = appended(execute(store, append('telemetry', ['after the damage']))).ranges[0]!;
    assert.ok(!waiting.telemetry.has(from), `${what}: offset ${from} is given twice`);
    store.status();
    listAll(store, 'waiting', { limit: 10_000 });
    store.close();
    const again = openIn(folder);
    assert.equal(readAll(again, 'telemetry').at(-1)?.payload, 'after the damage', what);
    again.close();
    return { lost };
  }

  const rich = richCache();
  const original = readFileSync(join(rich.folder, 'cache.db'));

  function damagedCopy(change: (bytes: Buffer) => Buffer | undefined): string {
    const folder = temporaryFolder('damaged');
    const bytes = Buffer.from(original);
    writeFileSync(join(folder, 'cache.db'), change(bytes) ?? bytes);
    return folder;
  }

  let seed = 20_240_101;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };

  test('delivers what is whole, and reports the rest, wherever bits are flipped', () => {
    for (let round = 0; round < 60; round++) {
      const places = Array.from({ length: 1 + (round % 3) * 10 }, () => random(original.length));
      const folder = damagedCopy((bytes) => {
        for (const at of places) bytes.writeUInt8(bytes[at]! ^ (1 << random(8)), at);
        return undefined;
      });
      const { lost } = checkAfterDamage(folder, rich.waiting, `bits flipped at ${places}`);
      assert.ok(lost < places.length * 600, `${lost} were lost by ${places.length} flipped bits`);
      rmSync(folder, { recursive: true });
    }
  });

  test('survives the loss of any page of its head, and of every tenth other one', () => {
    for (let page = 0; page < original.length / PAGE; page += page < 22 ? 1 : 10) {
      const folder = damagedCopy((bytes) => {
        bytes.fill(0, page * PAGE, (page + 1) * PAGE);
        return undefined;
      });
      const { lost } = checkAfterDamage(folder, rich.waiting, `page ${page + 1} zeroed`);
      assert.ok(lost <= 600, `${lost} were lost with page ${page + 1}`);
      assert.ok(lost === 0 || readdirSync(folder).length > 0);
      rmSync(folder, { recursive: true });
    }
  });

  test('gives what is left of it when its end is cut off', () => {
    for (const part of [0.02, 0.3, 0.7, 0.95, 0.999]) {
      const cut = Math.floor(original.length * part);
      const folder = damagedCopy((bytes) => bytes.subarray(0, cut));
      const { lost } = checkAfterDamage(folder, rich.waiting, `cut at ${cut}`);
      const total = rich.waiting.telemetry.size;
      assert.ok(lost < total * (1 - part) * 1.3 + 650, `${lost} of ${total} were lost with ${part} of the file left`);
      assert.deepEqual(
        readFileSync(join(folder, 'cache.db.damaged-1')).subarray(0, cut),
        original.subarray(0, cut),
        'it is kept',
      );
      rmSync(folder, { recursive: true });
    }
  });

  test('that is no database at all is moved aside, and a new cache begins', () => {
    const folder = damagedCopy(() =>
      Buffer.from('this is not a database, but long enough to look like one '.repeat(20)),
    );
    const store = openIn(folder);
    assert.match(
      store
        .status()
        .findings.map(({ message }) => message)
        .join(),
      /cache\.db\.damaged-1/,
    );
    execute(store, append('telemetry', ['usable']));
    store.close();
    writeFileSync(join(folder, 'cache.db'), 'again this is not a database '.repeat(50));
    openIn(folder).close();
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('cache.db.damaged')),
      ['cache.db.damaged-1', 'cache.db.damaged-2'],
    );
  });

  test('keeps id, session and inputs when SQLite cannot read it, but its pages can be', () => {
    const folder = damagedCopy((bytes) => {
      bytes.fill(0, 0, 100);
      return undefined;
    });
    const undamaged = openIn(rich.folder);
    const before = durableStateOf(undamaged);
    undamaged.close();
    const store = openIn(folder);
    const after = durableStateOf(store);
    assert.deepEqual({ ...after, status: { ...after.status, findings: [] } }, before);
    assert.equal(store.position('files'), '42');
    assert.ok(store.status().findings.length > 0);
    store.close();
  });

  test('counts everything as unsent when its cursors are gone, and gives no offset twice', () => {
    const folder = cacheWith([TEXTS], (store) => {
      execute(
        store,
        save(store, { telemetry: { firstUnsettled: 5, boundOffset: 9 } }, { identity: { broker: 'b', clientId: 'c' } }),
      );
    });
    runSql(folder, 'UPDATE lane SET first_unsettled = first_unsettled + 1');
    const store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), TEXTS);
    assert.equal(store.identity(), undefined, 'a new session begins');
    assert.deepEqual(store.status().waitingCounts, { command: 0, alert: 0, telemetry: 20 });
    const reply = execute(store, append('telemetry', ['next']));
    assert.ok(reply.kind === 'appended' && reply.ranges[0]!.from > 1_000_000);
    assert.equal(readAll(store, 'telemetry').length, 21);
    execute(store, save(store, { telemetry: { firstUnsettled: reply.ranges[0]!.to } }));
    assert.equal(store.status().waitingCounts.telemetry, 0);
    store.close();
  });

  test('is rebuilt while it is in use', () => {
    const folder = cacheWith([]);
    const store = openIn(folder);
    for (let index = 0; index < 40; index++) execute(store, append('telemetry', [`${index}`.padEnd(9000, 'z')]));
    store.setLimits({ ...LIMITS, maxSizeBytes: 1024 ** 3 });
    // What SQLite has not carried over yet is in the log, and what it holds in memory is not read again.
    const copy = copyCrashed(folder);
    store.close();
    openIn(copy).close();
    const inUse = openIn(copy);
    changeFile(copy, (bytes) => {
      for (let at = PAGE * 30; at < bytes.length; at += PAGE * 25) bytes.fill(0xff, at, at + PAGE);
      return undefined;
    });
    const read = readAll(inUse, 'telemetry');
    for (const { offset, payload } of read) assert.equal(payload, `${offset}`.padEnd(9000, 'z'));
    const reported = unreadable(inUse).reduce((sum, { count }) => sum + count, 0);
    assert.equal(read.length + reported, 40);
    assert.ok(reported > 0 && reported < 12, `${reported} were lost`);
    execute(inUse, append('telemetry', ['next']));
    assert.equal(readAll(inUse, 'telemetry').at(-1)!.offset, 40);
    inUse.close();
  });
});

describe('files that are not as they should be', () => {
  test('a cache of a newer version is refused and left as it is, with its log', () => {
    const folder = temporaryFolder('newer');
    const store = openIn(folder);
    execute(store, append('telemetry', ['from the future']));
    const copy = copyCrashed(folder);
    store.close();
    const db = new Database(join(copy, 'cache.db'));
    db.pragma(`user_version = ${SCHEMA_VERSION + 1}`);
    db.exec(`UPDATE meta SET value = '${SCHEMA_VERSION + 1}' WHERE key = 'version'`);
    const crashed = temporaryFolder('newer');
    for (const name of ['cache.db', 'cache.db-wal']) copyFileSync(join(copy, name), join(crashed, name));
    db.close();
    const before = ['cache.db', 'cache.db-wal'].map((name) => readFileSync(join(crashed, name)));
    assert.throws(() => openIn(crashed), { code: 'CACHE_NEWER' });
    const after = ['cache.db', 'cache.db-wal'].map((name) => readFileSync(join(crashed, name)));
    assert.deepEqual(after, before);
    assert.deepEqual(
      readdirSync(crashed).filter((name) => name.includes('damaged') || name.includes('new')),
      [],
    );
  });

  test('the pages of a file are read with what its log has made of them', () => {
    const folder = temporaryFolder('pages');
    const store = openIn(folder);
    const { cacheId } = store.status();
    execute(store, append('telemetry', TEXTS));
    execute(
      store,
      append(
        'telemetry',
        numbered('large-', 500).map((text) => text.padEnd(100, '.')),
      ),
    );
    execute(store, save(store, { telemetry: { firstUnsettled: 3 } }, { identity: { broker: 'b', clientId: 'c' } }));
    const copy = copyCrashed(folder);
    store.close();
    assert.ok(readFileSync(join(copy, 'cache.db')).indexOf('message-7.') < 0, 'the messages are in the log alone');
    const source = new DamagedSource(join(copy, 'cache.db'));
    assert.equal(source.cacheId(), cacheId);
    assert.deepEqual(
      [...source.batchesInPages()].map(({ offset, count }) => [offset, count]),
      [
        [0, 20],
        [20, 500],
      ],
    );
    for (const row of source.batchesInPages()) assert.ok(isIntact(row));
    assert.equal(source.lane('telemetry')?.firstUnsettled, 3);
    assert.deepEqual(source.session()?.identity, { broker: 'b', clientId: 'c' });
    source.close();
  });

  test('a database of somebody else is kept and replaced', () => {
    const folder = temporaryFolder('foreign');
    const db = new Database(join(folder, 'cache.db'));
    db.exec('CREATE TABLE theirs (a)');
    db.close();
    const store = openIn(folder);
    assert.equal(store.status().findings.length > 0, true);
    store.close();
    const theirs = new Database(join(folder, 'cache.db.damaged-1'), { readonly: true });
    assert.deepEqual(theirs.prepare('SELECT count(*) AS count FROM theirs').get(), { count: 0 });
    theirs.close();
  });

  test('a log without its database is kept, not deleted', () => {
    const folder = temporaryFolder('orphan');
    const store = openIn(folder);
    execute(store, append('telemetry', ['in the log']));
    const copy = copyCrashed(folder);
    store.close();
    const log = readFileSync(join(copy, 'cache.db-wal'));
    rmSync(join(copy, 'cache.db'));
    const opened = openIn(copy);
    assert.match(opened.status().findings[0]!.message, /missing/);
    opened.close();
    assert.deepEqual(readFileSync(join(copy, 'cache.db.damaged-1-wal')), log);
  });

  test('an empty file is a new cache', () => {
    const folder = temporaryFolder('empty');
    writeFileSync(join(folder, 'cache.db'), '');
    const store = openIn(folder);
    assert.deepEqual(store.status().findings, []);
    store.close();
  });

  test('a salvage that was interrupted is finished or begun again', () => {
    const folder = cacheWith([['kept']]);
    mkdirSync(join(folder, 'aside'));
    copyFileSync(join(folder, 'cache.db'), join(folder, 'cache.db.new'));
    truncateSync(join(folder, 'cache.db.new'), 5000);
    let store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['kept']);
    store.close();
    assert.ok(!existsSync(join(folder, 'cache.db.new')), 'beside a cache that is there, a new one is unfinished');
    copyFileSync(join(folder, 'cache.db'), join(folder, 'cache.db.new'));
    rmSync(join(folder, 'cache.db'));
    store = openIn(folder);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['kept']);
    store.close();
  });

  test('a cursor or a session that was changed by hand is noticed', () => {
    const folder = cacheWith([['a']], (store) => {
      const request = save(store, {}, { identity: { broker: 'b', clientId: 'c' } });
      execute(store, request);
    });
    runSql(folder, "UPDATE session SET client_id = 'd'");
    const store = openIn(folder);
    assert.equal(store.identity(), undefined);
    assert.equal(store.status().findings.length > 0, true);
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['a']);
    store.close();
  });
});

test('a batch that is larger than a row is split at records and read as one', () => {
  const folder = temporaryFolder('split');
  const store = openIn(folder);
  const texts = numbered('m', 3000).map((text) => text.padEnd(1000, '-'));
  execute(store, { ...append('telemetry', []), batches: [batch('telemetry', texts)] });
  assert.deepEqual(payloads(readAll(store, 'telemetry')), texts);
  for (const one of store.read('telemetry', 0, 100_000_000)) assert.ok(one.data.length <= 1024 * 1024);
  store.close();
});

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import Database from 'better-sqlite3';
import type { AppendReply, Store, StoreReply } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { append, appended, execute, LIMITS, START_MS, save } from './requests.js';
import { openIn } from './sqlite-subject.js';

const MIB = 1024 * 1024;
const SMALL = { ...LIMITS, maxSizeBytes: 2 * MIB };
const ANSWER = JSON.stringify({ receipt: '00000000-0000-4000-8000-000000000000', accepted: 1, quarantined: 0 });

function appendWithKey(store: Store, number: number, atMs = START_MS): StoreReply {
  const idempotency = {
    key: `key-${number}`,
    contentHash: `${number}`.padStart(64, '0'),
    expiresAtMs: atMs + 86_400_000,
    answer: ANSWER,
  };
  return execute(store, append('telemetry', [`payload ${number}`], { idempotency, acceptedAtMs: atMs }));
}

function settleAll(store: Store): void {
  execute(store, save(store, { telemetry: { firstUnsettled: store.status().nextOffsets.telemetry } }));
}

/** What the store believes that its keys take, and what they do. */
function keySizes(folder: string): { believed: number; actual: number; count: number } {
  const db = new Database(join(folder, 'cache.db'), { readonly: true });
  const believed = db.prepare("SELECT value FROM meta WHERE key = 'keysSizeBytes'").pluck().get();
  const row = db
    .prepare(
      'SELECT sum(length(key) + length(content_hash) + length(answer) + 96) AS actual, count(*) AS count FROM idempotency',
    )
    .get() as { actual: number; count: number };
  db.close();
  return { believed: Number(believed), ...row };
}

describe('the keys of accepted requests', () => {
  test('never fill the cache: of far too many the oldest are forgotten and counted, and content is still taken', () => {
    const folder = temporaryFolder('keys');
    const store = openIn(folder, SMALL);
    const COUNT = 20_000;
    let forgottenCount = 0;
    for (let number = 0; number < COUNT; number++) {
      const reply = appendWithKey(store, number, START_MS + number);
      assert.equal(reply.kind, 'appended', `request ${number} was refused by a cache in which nothing waits`);
      forgottenCount += (reply as AppendReply).forgottenKeysCount ?? 0;
      if (number % 100 === 99) settleAll(store);
    }
    assert.equal(appended(appendWithKey(store, COUNT - 1, START_MS + COUNT)).replayed, true, 'the last is remembered');
    const newest = COUNT - 1000;
    assert.equal(appended(appendWithKey(store, newest, START_MS + COUNT)).replayed, true, 'and the thousand before it');
    assert.equal(appended(appendWithKey(store, 0, START_MS + COUNT)).replayed, false, 'the first is forgotten');
    assert.ok(store.status().sizeBytes < 1.5 * MIB, `${store.status().sizeBytes} bytes`);
    store.close();
    const { believed, actual, count } = keySizes(folder);
    assert.equal(believed, actual);
    assert.ok(actual <= SMALL.maxSizeBytes / 4, `${actual} bytes of keys`);
    // The one that was handed in again after it was forgotten made room once more.
    assert.ok(count + forgottenCount >= COUNT && count + forgottenCount <= COUNT + 1, `${count} + ${forgottenCount}`);
  });

  test('within their share are kept for their time, also when the cache is full of messages', () => {
    const store = openIn(temporaryFolder('keys'), SMALL);
    for (let number = 0; number < 500; number++) assert.equal(appendWithKey(store, number).kind, 'appended');
    let reply: StoreReply;
    do reply = execute(store, append('telemetry', ['x'.repeat(20_000)]));
    while (reply.kind === 'appended');
    for (let number = 0; number < 500; number++) assert.equal(appended(appendWithKey(store, number)).replayed, true);
    store.close();
  });

  test('are counted exactly through expiry, replacement, a failed transaction, a restart and a file without the count', () => {
    const folder = temporaryFolder('keys');
    let store = openIn(folder, SMALL);
    for (let number = 0; number < 300; number++) appendWithKey(store, number, START_MS + number);
    const dayLater = START_MS + 86_400_000;
    execute(store, { kind: 'sweep', atMs: dayLater + 99 });
    // Expired and not yet swept: the new answer takes its place.
    assert.equal(appended(appendWithKey(store, 150, dayLater + 200)).replayed, false);
    // A value that the table does not take, so that the transaction fails when the key is stored already.
    const failing = {
      ...append('telemetry', ['x'], { position: { source: 'x', value: undefined as unknown as string } }),
    };
    const idempotency = { key: 'never', contentHash: 'h', expiresAtMs: dayLater, answer: ANSWER };
    assert.throws(() => store.execute([{ ...failing, idempotency }]));
    store.close();
    let sizes = keySizes(folder);
    assert.equal(sizes.believed, sizes.actual);
    assert.equal(sizes.count, 200);

    const db = new Database(join(folder, 'cache.db'));
    db.exec("DELETE FROM meta WHERE key = 'keysSizeBytes'");
    db.close();
    store = openIn(folder, SMALL);
    appendWithKey(store, 1000, dayLater);
    store.close();
    sizes = keySizes(folder);
    assert.equal(sizes.believed, sizes.actual);
    assert.equal(sizes.count, 201);
  });
});

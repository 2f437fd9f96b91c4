/** What every store promises, whatever it keeps its data in. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SaveRequest, Store, StoreLimits, StoreRequest } from '../../src/cache/store.js';
import { LANES } from '../../src/core/lane.js';
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
  readText,
  START_MS,
  save,
} from './requests.js';

export interface StoreSubject {
  /** A new, empty store; closed and cleared away when the test ends. */
  open(limits?: StoreLimits): Store;
  /** Closes nothing first: what is stored must be there as after a crash. The former store is not used again. */
  reopen(store: Store, limits?: StoreLimits): Store;
}

const ARCHIVING: StoreLimits = { ...LIMITS, archiveEnabled: true, archiveRetentionMs: 3_600_000 };

export function testStoreConformance(name: string, subject: StoreSubject): void {
  describe(name, () => {
    test('an empty store has nothing, everywhere', () => {
      const store = subject.open();
      const status = store.status();
      assert.match(status.cacheId, /^[0-9a-f]{8}$/);
      assert.deepEqual(status.nextOffsets, { command: 0, alert: 0, telemetry: 0 });
      assert.deepEqual(status.waitingCounts, { command: 0, alert: 0, telemetry: 0 });
      assert.equal(status.waitingSizeBytes, 0);
      assert.equal(status.oldestAcceptedAtMs, undefined);
      assert.equal(status.quarantinedCount + status.archivedCount, 0);
      assert.deepEqual(status.findings, []);
      for (const lane of LANES) assert.deepEqual(store.read(lane, 0, 1000), []);
      for (const state of ['waiting', 'quarantined', 'archived'] as const) {
        assert.deepEqual(store.list({ state, limit: 10 }), { messages: [], cursor: undefined });
      }
      assert.equal(store.identity(), undefined);
      assert.equal(store.position('files'), undefined);
    });

    test('each lane numbers its own messages, across requests', () => {
      const store = subject.open();
      const [first, second] = store.execute([
        { ...append('telemetry', ['a', 'b']), batches: [batch('telemetry', ['a', 'b']), batch('alert', ['x'])] },
        append('telemetry', ['c']),
      ]);
      assert.deepEqual(appended(first).ranges, [
        { lane: 'telemetry', from: 0, to: 2 },
        { lane: 'alert', from: 0, to: 1 },
      ]);
      assert.deepEqual(appended(second).ranges, [{ lane: 'telemetry', from: 2, to: 3 }]);
      assert.deepEqual(
        readAll(store, 'telemetry').map(({ offset, payload }) => [offset, payload]),
        [
          [0, 'a'],
          [1, 'b'],
          [2, 'c'],
        ],
      );
      assert.deepEqual(payloads(readAll(store, 'alert')), ['x']);
      assert.deepEqual(store.status().waitingCounts, { command: 0, alert: 1, telemetry: 3 });
    });

    test('what is read begins with the batch that holds the offset and stops before the size', () => {
      const store = subject.open();
      for (let index = 0; index < 6; index++) {
        execute(store, append('telemetry', numbered(`${index}-`, 10), { acceptedAtMs: START_MS + index * 10_000 }));
      }
      const one = store.read('telemetry', 23, 1)[0]!;
      assert.equal(store.read('telemetry', 23, 1).length, 1, 'one batch is given, however small the size');
      assert.equal(one.firstOffset, 20);
      assert.equal(one.acceptedAtMs, START_MS + 20_000);
      const three = store.read('telemetry', 23, one.data.length * 3 + 1);
      assert.deepEqual(
        three.map(({ firstOffset }) => firstOffset),
        [20, 30, 40],
      );
      assert.deepEqual(store.read('telemetry', 60, 1000), []);
      assert.deepEqual(store.read('telemetry', 1_000_000, 1000), []);
    });

    test('a message that is larger than any batch comes back as it was', () => {
      const store = subject.open();
      const huge = Buffer.alloc(5_000_000, 'x');
      execute(store, { ...append('telemetry', ['before', huge, 'after']) });
      const messages = readAll(store, 'telemetry');
      assert.equal(messages.length, 3);
      assert.equal(messages[1]!.payload.length, 5_000_000);
      assert.deepEqual([messages[0]!.payload, messages[2]!.payload], ['before', 'after']);
    });

    test('a batch whose count is wrong is an error, and nothing of its group is stored', () => {
      const store = subject.open();
      const wrong = { ...append('telemetry', ['a']), batches: [{ ...batch('telemetry', ['a', 'b']), count: 3 }] };
      assert.throws(() => store.execute([append('telemetry', ['kept?']), wrong]), RangeError);
      const torn = {
        ...append('telemetry', ['a']),
        batches: [{ lane: 'telemetry' as const, count: 1, data: Buffer.alloc(20, 1) }],
      };
      assert.throws(() => store.execute([torn]), RangeError);
      assert.deepEqual(readAll(store, 'telemetry'), []);
      assert.equal(store.status().nextOffsets.telemetry, 0);
      execute(store, append('telemetry', ['next']));
      assert.deepEqual(
        readAll(store, 'telemetry').map(({ offset }) => offset),
        [0],
      );
    });

    test('a save settles what lies below it, and its ranges beyond do not wait any more', () => {
      const store = subject.open();
      execute(store, append('telemetry', numbered('m', 10)));
      execute(store, save(store, { telemetry: { firstUnsettled: 3, settled: [{ from: 5, to: 7 }] } }));
      assert.equal(store.status().waitingCounts.telemetry, 5);
      assert.deepEqual(listedPayloads(store, 'waiting'), ['m3', 'm4', 'm7', 'm8', 'm9']);
      assert.deepEqual(store.progress().lanes.telemetry, {
        firstUnsettled: 3,
        boundOffset: 7,
        settled: [{ from: 5, to: 7 }],
      });
      execute(store, save(store, { telemetry: { firstUnsettled: 10 } }));
      assert.deepEqual(store.read('telemetry', 0, 1000), []);
      assert.equal(store.status().waitingSizeBytes, 0);
      assert.equal(store.status().oldestAcceptedAtMs, undefined);
    });

    test('progress that goes back, beyond the end or out of order is an error and changes nothing', () => {
      const store = subject.open();
      execute(store, append('telemetry', numbered('m', 10)));
      execute(store, save(store, { telemetry: { firstUnsettled: 4, boundOffset: 8 } }));
      const before = durableStateOf(store);
      const impossible = [
        { firstUnsettled: 3 },
        { firstUnsettled: 11 },
        { firstUnsettled: 4.5 },
        { firstUnsettled: 5, boundOffset: 4 },
        { firstUnsettled: 5, settled: [{ from: 4, to: 6 }] },
        {
          firstUnsettled: 5,
          settled: [
            { from: 8, to: 9 },
            { from: 6, to: 7 },
          ],
        },
        { firstUnsettled: 5, settled: [{ from: 6, to: 6 }] },
        { firstUnsettled: 5, settled: [{ from: 6, to: 11 }] },
      ];
      for (const telemetry of impossible) {
        assert.throws(() => execute(store, save(store, { telemetry })), RangeError, JSON.stringify(telemetry));
      }
      assert.deepEqual(durableStateOf(store), before);
    });

    test('the session is stored with its identity and the order of its PUBRECs, until it is forgotten', () => {
      let store = subject.open();
      execute(store, append('telemetry', numbered('m', 10)));
      execute(store, append('command', numbered('c', 3)));
      const received = [
        { lane: 'telemetry' as const, from: 4, to: 6 },
        { lane: 'command' as const, from: 0, to: 2 },
        { lane: 'telemetry' as const, from: 1, to: 2 },
      ];
      const identity = { broker: 'mqtt://b:1883', clientId: 'north' };
      const request = save(store, { telemetry: { firstUnsettled: 1, boundOffset: 9 } }, { identity });
      execute(store, { ...request, progress: { ...request.progress, received } });
      assert.deepEqual(store.identity(), identity);
      store = subject.reopen(store);
      assert.deepEqual(store.progress().received, received);
      assert.deepEqual(store.identity(), identity);
      execute(store, save(store, { telemetry: { firstUnsettled: 2, boundOffset: 9 } }));
      assert.deepEqual(store.identity(), identity, 'a save without an identity leaves it');
      execute(store, save(store, {}, { identity: null }));
      assert.equal(subject.reopen(store).identity(), undefined);
    });

    test('a message goes to quarantine with its reason, keeps its id, and its neighbours stay', () => {
      const store = subject.open();
      const { cacheId } = store.status();
      execute(store, append('telemetry', numbered('m', 5)));
      const quarantine = [{ lane: 'telemetry' as const, offset: 2, code: 'PUBLISH_REFUSED', reason: 'quota' }];
      const request = save(
        store,
        { telemetry: { firstUnsettled: 0, settled: [{ from: 2, to: 3 }] } },
        { quarantine, atMs: START_MS + 5 },
      );
      execute(store, request);
      const [entry, ...others] = listAll(store, 'quarantined');
      assert.equal(others.length, 0);
      assert.deepEqual(
        { ...entry, record: undefined, id: undefined },
        {
          state: 'quarantined',
          id: undefined,
          lane: 'telemetry',
          offset: 2,
          messageId: `${cacheId}-t-2`,
          acceptedAtMs: START_MS,
          atMs: START_MS + 5,
          code: 'PUBLISH_REFUSED',
          reason: 'quota',
          record: undefined,
          count: 1,
        },
      );
      assert.deepEqual(readText(entry!.record), { topic: 't/telemetry', payload: 'm2' });
      assert.equal(store.status().waitingCounts.telemetry, 4);
      execute(store, request);
      assert.equal(store.status().quarantinedCount, 1, 'a save that is repeated does not quarantine twice');
    });

    test('many messages of one batch go to quarantine at once, in any order', () => {
      const store = subject.open();
      execute(store, append('telemetry', numbered('m', 50)));
      const offsets = [40, 3, 4, 5, 49, 0];
      const quarantine = offsets.map((offset) => ({ lane: 'telemetry' as const, offset, code: 'X', reason: 'x' }));
      execute(store, save(store, { telemetry: { firstUnsettled: 50 } }, { quarantine }));
      assert.deepEqual(
        listedPayloads(store, 'quarantined'),
        offsets.map((offset) => `m${offset}`),
      );
      assert.deepEqual(store.status().waitingCounts.telemetry, 0);
    });

    test('a quarantined message that does not exist is passed over', () => {
      const store = subject.open();
      execute(store, append('telemetry', ['a']));
      const quarantine = [
        { lane: 'telemetry' as const, offset: 7, code: 'X', reason: 'x' },
        { lane: 'alert' as const, offset: 0, code: 'X', reason: 'x' },
      ];
      execute(store, save(store, {}, { quarantine }));
      assert.equal(store.status().quarantinedCount, 0);
    });

    test('a retried message goes to the end of its lane under its old id', () => {
      let store = subject.open();
      const { cacheId } = store.status();
      execute(store, append('telemetry', numbered('m', 3)));
      const quarantine = [{ lane: 'telemetry' as const, offset: 1, code: 'A', reason: 'a' }];
      execute(store, save(store, { telemetry: { firstUnsettled: 2 } }, { quarantine }));
      const id = listAll(store, 'quarantined')[0]!.id!;
      const retry = { kind: 'retry' as const, which: { ids: [id, 999] }, atMs: START_MS + 9 };
      assert.deepEqual(execute(store, retry), {
        kind: 'retried',
        ranges: [{ lane: 'telemetry', from: 3, to: 4 }],
        count: 1,
        nextAfterId: undefined,
      });
      store = subject.reopen(store);
      assert.equal(store.status().quarantinedCount, 0);
      const waiting = listAll(store, 'waiting');
      assert.deepEqual(
        waiting.map(({ messageId, offset }) => [messageId, offset]),
        [
          [`${cacheId}-t-2`, 2],
          [`${cacheId}-t-1`, 3],
        ],
      );
      // It is refused again, and retried again: the id stays.
      const again = [{ lane: 'telemetry' as const, offset: 3, code: 'A', reason: 'a' }];
      execute(store, save(store, { telemetry: { firstUnsettled: 4 } }, { quarantine: again }));
      assert.equal(listAll(store, 'quarantined')[0]!.messageId, `${cacheId}-t-1`);
      execute(store, { kind: 'retry', which: { all: true }, atMs: START_MS });
      assert.deepEqual(
        listAll(store, 'waiting').map(({ messageId, offset }) => [messageId, offset]),
        [[`${cacheId}-t-1`, 4]],
      );
    });

    test('content without a topic is quarantined at once, and can be retried only with a topic', () => {
      const store = subject.open();
      const reply = appended(
        execute(store, {
          ...append('telemetry', ['good']),
          quarantined: [draft('telemetry', 'bad'), draft('alert', 'worse')],
        }),
      );
      assert.equal(reply.quarantinedIds.length, 2);
      assert.deepEqual(listedPayloads(store, 'quarantined'), ['bad', 'worse']);
      assert.equal(listAll(store, 'quarantined')[0]!.offset, undefined);
      assert.deepEqual(execute(store, { kind: 'retry', which: { all: true }, atMs: START_MS }), {
        kind: 'retried',
        ranges: [],
        count: 0,
        nextAfterId: undefined,
      });
      const which = { ids: [reply.quarantinedIds[1]!] };
      execute(store, { kind: 'retry', which, topic: 'mended/topic', atMs: START_MS });
      assert.deepEqual(readAll(store, 'alert'), [{ offset: 0, topic: 'mended/topic', payload: 'worse' }]);
      assert.equal(store.status().quarantinedCount, 1);
    });

    test('quarantine is retried and removed by id, by code or as a whole, in parts when asked', () => {
      const store = subject.open();
      const quarantined = numbered('q', 9).map((text, index) =>
        draft('telemetry', text, 'a/b', index % 3 === 0 ? 'FIRST' : 'SECOND'),
      );
      execute(store, { ...append('telemetry', []), quarantined });
      assert.deepEqual(execute(store, { kind: 'remove', which: { codes: ['NONE'] } }), {
        kind: 'removed',
        count: 0,
        nextAfterId: undefined,
      });
      execute(store, { kind: 'retry', which: { codes: ['FIRST', 'NONE'] }, atMs: START_MS });
      assert.deepEqual(payloads(readAll(store, 'telemetry')), ['q0', 'q3', 'q6']);
      const part = { afterId: 0, countMax: 2 };
      const first = execute(store, { kind: 'retry', which: { all: true }, atMs: START_MS, part });
      assert.ok(first.kind === 'retried' && first.count === 2 && first.nextAfterId !== undefined);
      const second = execute(store, {
        kind: 'remove',
        which: { all: true },
        part: { afterId: first.nextAfterId, countMax: 3 },
      });
      assert.ok(second.kind === 'removed' && second.count === 3 && second.nextAfterId !== undefined);
      const last = execute(store, {
        kind: 'remove',
        which: { all: true },
        part: { afterId: second.nextAfterId, countMax: 3 },
      });
      assert.deepEqual(last, { kind: 'removed', count: 1, nextAfterId: undefined });
      assert.equal(store.status().quarantinedCount, 0);
    });

    test('an id of quarantine is never given again', () => {
      let store = subject.open();
      const request = { ...append('telemetry', []), quarantined: [draft('telemetry', 'q')] };
      const first = appended(execute(store, request)).quarantinedIds[0]!;
      execute(store, { kind: 'remove', which: { all: true } });
      store = subject.reopen(store);
      assert.ok(appended(execute(store, request)).quarantinedIds[0]! > first);
    });

    test('the same key with the same content gives the first answer and appends nothing', () => {
      let store = subject.open();
      const idempotency = { key: 'k', contentHash: 'h', expiresAtMs: START_MS + 1000, answer: 'receipt-1' };
      const request = append('telemetry', ['once'], { idempotency });
      const again = { ...request, idempotency: { ...idempotency, answer: 'receipt-2' } };
      const other = { ...request, idempotency: { ...idempotency, contentHash: 'other' } };
      const [first, second, refused, last] = store.execute([request, again, other, append('telemetry', ['free'])]);
      assert.equal(appended(first).replayed, false);
      assert.deepEqual(second, {
        kind: 'appended',
        ranges: [],
        quarantinedIds: [],
        replayed: true,
        answer: 'receipt-1',
        droppedCount: 0,
      });
      assert.ok(refused?.kind === 'refused' && refused.code === 'IDEMPOTENCY_KEY_REUSED');
      assert.deepEqual(appended(last).ranges, [{ lane: 'telemetry', from: 1, to: 2 }], 'the others still commit');
      store = subject.reopen(store);
      assert.equal(appended(execute(store, again)).answer, 'receipt-1');
      const late = { ...other, acceptedAtMs: START_MS + 1000 };
      assert.equal(appended(execute(store, late)).replayed, false, 'an expired key is free again');
      assert.deepEqual(payloads(readAll(store, 'telemetry')), ['once', 'free', 'once']);
    });

    test('the position of an input is stored with what came from there, also without messages', () => {
      let store = subject.open();
      execute(store, append('telemetry', ['row'], { position: { source: 'files', value: '1' } }));
      execute(store, { ...append('telemetry', []), batches: [], position: { source: 'other', value: 'x' } });
      store = subject.reopen(store);
      assert.equal(store.position('files'), '1');
      assert.equal(store.position('other'), 'x');
      execute(store, append('telemetry', ['row'], { position: { source: 'files', value: '2' } }));
      assert.equal(store.position('files'), '2');
    });

    test('with the archive, settled messages are kept until their time has passed; quarantined ones are not in it', () => {
      const store = subject.open(ARCHIVING);
      execute(store, append('telemetry', numbered('m', 4)));
      execute(store, append('telemetry', numbered('n', 4), { acceptedAtMs: START_MS + 2000 }));
      const quarantine = [{ lane: 'telemetry' as const, offset: 1, code: 'X', reason: 'x' }];
      execute(store, save(store, { telemetry: { firstUnsettled: 2 } }, { quarantine, atMs: START_MS + 1000 }));
      assert.deepEqual(listedPayloads(store, 'archived'), ['m0'], 'at once, although their batch is not done');
      assert.equal(store.status().archivedCount, 1);
      execute(store, save(store, { telemetry: { firstUnsettled: 6 } }, { atMs: START_MS + 5000 }));
      assert.deepEqual(listedPayloads(store, 'archived'), ['m0', 'm2', 'm3', 'n0', 'n1']);
      assert.equal(store.status().archivedCount, 5);
      assert.equal(listAll(store, 'archived')[0]!.atMs, START_MS + 5000);
      assert.deepEqual(payloads(readAll(store, 'telemetry', 0).slice(2)), ['n2', 'n3']);
      const sweep = (atMs: number) => execute(store, { kind: 'sweep', atMs });
      const nothing = { kind: 'swept', archivedCount: 0, quarantinedCount: 0, isUnfinished: false };
      assert.deepEqual(sweep(START_MS + 5000 + 3_599_999), nothing);
      assert.deepEqual(sweep(START_MS + 5000 + 3_600_000), { ...nothing, archivedCount: 3 });
      assert.deepEqual(listedPayloads(store, 'archived'), ['n0', 'n1']);
      assert.deepEqual(payloads(readAll(store, 'telemetry', 6).slice(2)), ['n2', 'n3'], 'what waits is never swept');
    });

    test('the archive can be switched off and on again without counting what was not kept', () => {
      let store = subject.open(ARCHIVING);
      const settleNext = (text: string) => {
        execute(store, append('telemetry', [text]));
        execute(store, save(store, { telemetry: { firstUnsettled: store.status().nextOffsets.telemetry } }));
      };
      settleNext('kept');
      store.setLimits(LIMITS);
      settleNext('gone');
      assert.deepEqual(listedPayloads(store, 'archived'), ['kept']);
      assert.equal(store.status().archivedCount, 1);
      store.setLimits(ARCHIVING);
      settleNext('kept too');
      store = subject.reopen(store, ARCHIVING);
      assert.deepEqual(listedPayloads(store, 'archived'), ['kept', 'kept too']);
      assert.equal(store.status().archivedCount, 2);
      execute(store, { kind: 'sweep', atMs: START_MS + 3_600_000 });
      assert.equal(store.status().archivedCount, 0);
    });

    test('quarantine is kept for ever, or for its retention time', () => {
      const store = subject.open({ ...LIMITS, quarantineRetentionMs: 1000 });
      execute(store, { ...append('telemetry', []), quarantined: [draft('telemetry', 'old')] });
      execute(store, {
        ...append('telemetry', [], { acceptedAtMs: START_MS + 500 }),
        quarantined: [draft('telemetry', 'new')],
      });
      assert.ok(execute(store, { kind: 'sweep', atMs: START_MS + 999 }).kind === 'swept');
      assert.equal(store.status().quarantinedCount, 2);
      execute(store, { kind: 'sweep', atMs: START_MS + 1000 });
      assert.deepEqual(listedPayloads(store, 'quarantined'), ['new']);
      store.setLimits(LIMITS);
      execute(store, { kind: 'sweep', atMs: START_MS + 10 ** 10 });
      assert.equal(store.status().quarantinedCount, 1);
    });

    test('what was stamped by a clock that was ahead is kept for its time from now, not for ever', () => {
      const store = subject.open({ ...ARCHIVING, quarantineRetentionMs: 1000 });
      const future = START_MS + 10 ** 11;
      execute(store, {
        ...append('telemetry', ['m'], { acceptedAtMs: future }),
        quarantined: [draft('telemetry', 'q')],
      });
      execute(store, save(store, { telemetry: { firstUnsettled: 1 } }, { atMs: future }));
      execute(store, { kind: 'sweep', atMs: START_MS });
      assert.equal(store.status().quarantinedCount + store.status().archivedCount, 2);
      execute(store, { kind: 'sweep', atMs: START_MS + 3_600_000 });
      assert.equal(store.status().quarantinedCount + store.status().archivedCount, 0);
    });

    test('lists are paged and filtered by lane and topic', () => {
      const store = subject.open();
      execute(store, { ...append('alert', ['x']), batches: [batch('alert', ['x'], 'plant/alarm')] });
      for (let index = 0; index < 5; index++) {
        execute(store, {
          ...append('telemetry', []),
          batches: [batch('telemetry', numbered(`${index}-`, 4), `plant/${index}/t`)],
        });
      }
      const page = store.list({ state: 'waiting', limit: 3 });
      assert.equal(page.messages.length, 3);
      assert.deepEqual(listedPayloads(store, 'waiting', { limit: 3 }).length, 21);
      assert.deepEqual(listedPayloads(store, 'waiting', { lane: 'alert', limit: 3 }), ['x']);
      assert.deepEqual(listedPayloads(store, 'waiting', { topic: 'plant/3/t', limit: 3 }), numbered('3-', 4));
      assert.equal(listedPayloads(store, 'waiting', { topic: 'plant/*/t', limit: 3 }).length, 20);
      assert.deepEqual(listedPayloads(store, 'waiting', { topic: '*alarm*', limit: 3 }), ['x']);
      assert.deepEqual(listedPayloads(store, 'waiting', { topic: 'plant', limit: 3 }), []);
      assert.throws(() => store.list({ state: 'waiting', limit: 3, after: 'nonsense' }), { code: 'REQUEST_INVALID' });
    });

    test('everything is the same when the store is opened again after each kind of request', () => {
      const limits: StoreLimits = { ...ARCHIVING, quarantineRetentionMs: 5000 };
      let store = subject.open(limits);
      const quarantine = [{ lane: 'telemetry' as const, offset: 1, code: 'X', reason: 'x' }];
      const steps: ((store: Store) => StoreRequest)[] = [
        () => ({ ...append('telemetry', numbered('m', 5)), quarantined: [draft('alert', 'q', 'a/b')] }),
        () =>
          append('command', numbered('c', 2), {
            idempotency: { key: 'k', contentHash: 'h', expiresAtMs: 1, answer: '' },
          }),
        (now): SaveRequest => {
          const identity = { broker: 'b', clientId: 'c' };
          const request = save(
            now,
            { telemetry: { firstUnsettled: 2, boundOffset: 5, settled: [{ from: 3, to: 4 }] } },
            { quarantine, identity },
          );
          return { ...request, progress: { ...request.progress, received: [{ lane: 'command', from: 0, to: 1 }] } };
        },
        () => ({ kind: 'retry', which: { codes: ['X'] }, atMs: START_MS + 1 }),
        (now) => save(now, { telemetry: { firstUnsettled: 6 }, command: { firstUnsettled: 2 } }),
        () => ({ kind: 'remove', which: { all: true } }),
        () => ({ kind: 'sweep', atMs: START_MS + 10 ** 8 }),
      ];
      for (const [index, step] of steps.entries()) {
        execute(store, step(store));
        const before = durableStateOf(store);
        store = subject.reopen(store, limits);
        assert.deepEqual(durableStateOf(store), before, `after step ${index}`);
      }
    });
  });
}

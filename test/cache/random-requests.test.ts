/**
 * Random requests go to the SQLite store and to the model, and every reply and everything that can be seen must be the
 * same, through crashes and restarts. A seed that ever failed is kept in `SEEDS`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import type {
  QuarantineQuery,
  SaveRequest,
  Store,
  StoreLimits,
  StoreReply,
  StoreRequest,
} from '../../src/cache/store.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { ModelStore } from './model-store.js';
import { batch, draft, durableStateOf, LIMITS, numbered, START_MS } from './requests.js';
import { copyCrashed, openIn } from './sqlite-subject.js';

const SEEDS = [1, 2, 3];
const RUNS_PER_SEED = 40;

/** Numbers that an action takes from the front as it needs them, so that fast-check can shrink them. */
type Numbers = number[];

type Action =
  | {
      kind: 'group';
      requests: { kind: 'append' | 'save' | 'retry' | 'remove' | 'sweep' | 'impossible'; numbers: Numbers }[];
    }
  | { kind: 'wait'; ms: number }
  | { kind: 'limits'; archiveEnabled: boolean; retentionMs: number }
  | { kind: 'reopen'; isCrash: boolean };

const numbersArbitrary = fc.array(fc.nat(1000), { minLength: 24, maxLength: 24 });

const requestArbitrary = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('append' as const) },
    { weight: 5, arbitrary: fc.constant('save' as const) },
    { weight: 1, arbitrary: fc.constantFrom('retry' as const, 'remove' as const, 'sweep' as const) },
    { weight: 1, arbitrary: fc.constant('impossible' as const) },
  ),
  numbers: numbersArbitrary,
});

const actionArbitrary: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('group' as const),
      requests: fc.array(requestArbitrary, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.constantFrom(1, 2000, 60_000, 600_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('limits' as const),
      archiveEnabled: fc.boolean(),
      retentionMs: fc.constantFrom(0, 10_000, 300_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const), isCrash: fc.boolean() }) },
);

class Requests {
  nowMs = START_MS;
  #count = 0;
  readonly #model: Store;

  constructor(model: Store) {
    this.#model = model;
  }

  make(kind: 'append' | 'save' | 'retry' | 'remove' | 'sweep' | 'impossible', numbers: Numbers): StoreRequest {
    const take = (below: number): number => (numbers.shift() ?? 0) % below;
    switch (kind) {
      case 'append':
        return this.#append(take);
      case 'save':
        return this.#save(take);
      case 'retry': {
        const topic = take(3) === 0 ? 'another/topic' : undefined;
        const which: QuarantineQuery = topic === undefined ? this.#which(take) : { ids: [1 + take(20)] };
        return { kind, which, atMs: this.nowMs, ...(topic === undefined ? {} : { topic }) };
      }
      case 'remove':
        return { kind, which: this.#which(take) };
      case 'sweep':
        return { kind, atMs: this.nowMs };
      case 'impossible': {
        if (take(2) === 0) {
          const wrong = { ...batch('telemetry', ['x', 'y']), count: 1 + 2 * take(2) };
          return { kind: 'append', batches: [wrong], quarantined: [], acceptedAtMs: this.nowMs };
        }
        const request = this.#save(take);
        const alert = { ...request.progress.lanes.alert, firstUnsettled: this.#model.status().nextOffsets.alert + 1 };
        return { ...request, progress: { ...request.progress, lanes: { ...request.progress.lanes, alert } } };
      }
    }
  }

  #append(take: (below: number) => number): StoreRequest {
    const texts = (count: number): string[] => {
      this.#count += count;
      return numbered('m', count, this.#count - count);
    };
    const batches = LANES.filter(() => take(3) > 0).map((lane) => batch(lane, texts(take(6)), `t/${take(3)}`));
    const quarantined = texts(take(4) === 0 ? 2 : 0).map((text) =>
      draft(
        take(2) === 0 ? 'telemetry' : 'alert',
        text,
        take(2) === 0 ? 'q/t' : '',
        take(2) === 0 ? 'CODE_A' : 'CODE_B',
      ),
    );
    const idempotency = {
      key: `key${take(4)}`,
      contentHash: `hash${take(2)}`,
      expiresAtMs: this.nowMs + [1, 5000, 500_000][take(3)]!,
      answer: `answer${this.#count}`,
    };
    const position = { source: `source${take(2)}`, value: String(this.#count) };
    return {
      kind: 'append',
      batches,
      quarantined,
      acceptedAtMs: this.nowMs,
      ...(take(3) === 0 ? { idempotency } : {}),
      ...(take(3) === 0 ? { position } : {}),
    };
  }

  #save(take: (below: number) => number): SaveRequest {
    const now = this.#model.progress();
    const next = this.#model.status().nextOffsets;
    const quarantine: SaveRequest['quarantine'][number][] = [];
    const received: SaveRequest['progress']['received'][number][] = [];
    const advance = (lane: Lane) => {
      const from = now.lanes[lane].firstUnsettled;
      const firstUnsettled = from + take(next[lane] - from + 1);
      const settled = [];
      const room = next[lane] - firstUnsettled;
      if (room > 3 && take(2) === 0) {
        const start = firstUnsettled + 1 + take(room - 2);
        settled.push({ from: start, to: start + 1 + take(next[lane] - start) });
      }
      for (let offset = from; offset < firstUnsettled; offset++) {
        if (take(7) === 0)
          quarantine.push({ lane, offset, code: take(2) === 0 ? 'CODE_A' : 'CODE_C', reason: 'refused' });
      }
      if (room > 0 && take(3) === 0) received.push({ lane, from: firstUnsettled, to: firstUnsettled + 1 });
      return { firstUnsettled, boundOffset: Math.max(firstUnsettled, settled.at(-1)?.to ?? 0) + take(20), settled };
    };
    const lanes = { telemetry: advance('telemetry'), command: advance('command'), alert: advance('alert') };
    const identity = [undefined, null, { broker: 'b', clientId: `c${take(3)}` }][take(3)];
    return {
      kind: 'save',
      progress: { lanes, received },
      quarantine,
      atMs: this.nowMs,
      ...(identity === undefined ? {} : { identity }),
    };
  }

  #which(take: (below: number) => number): QuarantineQuery {
    const kind = take(3);
    if (kind === 0) return { ids: [1 + take(20), 1 + take(20)] };
    return kind === 1 ? { codes: ['CODE_A', 'CODE_C'] } : { all: true };
  }
}

function replyOf(store: Store, requests: readonly StoreRequest[]): unknown {
  try {
    // The wording of a refusal is the store's own.
    return store
      .execute(requests)
      .map((reply: StoreReply) => (reply.kind === 'refused' ? { ...reply, message: '' } : reply));
  } catch (error) {
    if (error instanceof RangeError) return 'RangeError';
    throw error;
  }
}

function visible(store: Store): unknown {
  const state = durableStateOf(store);
  const anonymous = <T extends { messageId: string }>(list: T[]) =>
    list.map((one) => ({ ...one, messageId: one.messageId.slice(8) }));
  const status = { ...state.status, cacheId: '' };
  return { ...state, status, quarantined: anonymous(state.quarantined), archived: anonymous(state.archived) };
}

function run(actions: readonly Action[]): void {
  let limits: StoreLimits = LIMITS;
  let folder = temporaryFolder('random');
  let store: SqliteStore = openIn(folder, limits);
  const model = new ModelStore(limits);
  const requests = new Requests(model);
  for (const action of actions) {
    if (action.kind === 'wait') requests.nowMs += action.ms;
    else if (action.kind === 'limits') {
      const { archiveEnabled, retentionMs } = action;
      limits = { ...LIMITS, archiveEnabled, archiveRetentionMs: retentionMs, quarantineRetentionMs: retentionMs };
      store.setLimits(limits);
      model.setLimits(limits);
    } else if (action.kind === 'reopen') {
      if (action.isCrash) folder = copyCrashed(folder);
      store.close();
      store = openIn(folder, limits);
    } else {
      // A request is made from what the model holds before its group, as a session makes it from what it has seen. Two
      // saves in one group could contradict each other; the model says so just as well.
      const group = action.requests.map(({ kind, numbers }) => requests.make(kind, [...numbers]));
      assert.deepEqual(replyOf(store, group), replyOf(model, group));
    }
    assert.deepEqual(visible(store), visible(model));
  }
  store.close();
}

for (const seed of [...SEEDS, Date.now() % 2 ** 31]) {
  test(`random requests leave the store as the model says, with seed ${seed}`, () => {
    fc.assert(fc.property(fc.array(actionArbitrary, { minLength: 5, maxLength: 30 }), run), {
      seed,
      numRuns: RUNS_PER_SEED,
    });
  });
}

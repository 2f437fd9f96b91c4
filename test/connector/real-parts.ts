/**
 * Parts of a connector on real caches, in a process that may die in the middle of what it stores: some of the appends
 * that are under way then are on stable storage, others are not, and nobody hears of either.
 */
import type { CacheFront } from '../../src/cache/cache-front.js';
import { openDirectCache } from '../../src/cache/direct-cache.js';
import type { SqliteStore } from '../../src/cache/sqlite-store.js';
import type { StoredMessage, StoreLimits } from '../../src/cache/store.js';
import { transformerSchema } from '../../src/config/transformers.js';
import { Acceptance } from '../../src/connector/acceptance.js';
import { type AppendDraft, type Part, SingleStore } from '../../src/connector/content-store.js';
import type { Parts } from '../../src/connector/parts.js';
import { SharedStore } from '../../src/connector/shared-store.js';
import { type FormerConnections, findParts, partFolder, type Sharing } from '../../src/connector/sharing-record.js';
import { NorthError } from '../../src/core/error.js';
import { LANES } from '../../src/core/lane.js';
import { readRecord } from '../../src/core/record.js';
import { openTransformer } from '../../src/transform/transformer.js';
import { LIMITS } from '../cache/requests.js';
import { openIn } from '../cache/sqlite-subject.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const KEY_RETENTION_MS = 24 * 3_600_000;

/** The appends before it are done; of those after it, each one whose bit is set is stored, and all of them fail. */
export interface Death {
  afterAppends: number;
  stored: number;
}

export class RealParts implements Parts {
  readonly folder = temporaryFolder('parts');
  readonly clock = new ManualClock();
  sharing: Sharing;
  limits: StoreLimits = LIMITS;
  /** Parts that refuse what they are asked. */
  readonly full = new Set<number>();
  /** The parts that were asked to store something, in order. */
  readonly asked: number[] = [];
  readonly #former: FormerConnections[] = [];
  readonly #stores = new Map<number, SqliteStore>();
  readonly #caches = new Map<number, CacheFront>();
  #death: Death | undefined;

  constructor(connections: number) {
    this.sharing = { connections, generation: connections === 1 ? 0 : 1 };
  }

  /** As the connector accepts content with this life of the process. */
  acceptance(death?: Death): Acceptance {
    this.close();
    this.#death = death === undefined ? undefined : { ...death };
    return new Acceptance({
      id: 'shared',
      transformers: [
        { type: 'csv-to-mqtt', topicColumn: 'topic', payloadType: 'column', valueColumn: 'value' },
        { type: 'json-to-mqtt', iterator: '$[*]', topicFrom: 'topic' },
      ].map((config) => openTransformer(transformerSchema.parse(config))),
      defaults: { qos: 1, retain: false, expirySeconds: 0, topicPrefix: '', userProperties: [] },
      store:
        this.sharing.generation === 0
          ? new SingleStore({ part: this.part(1), clock: this.clock, idempotencyRetentionMs: KEY_RETENTION_MS })
          : new SharedStore({ parts: this, clock: this.clock, idempotencyRetentionMs: KEY_RETENTION_MS }),
      clock: this.clock,
    });
  }

  /** Another number of connections, as it takes effect with the next life. */
  change(connections: number): void {
    this.#former.push({ connections: this.sharing.connections, untilMs: this.clock.wallMs() });
    this.sharing = { connections, generation: this.sharing.generation + 1 };
  }

  part(number: number): Part {
    return {
      position: (source) => this.cache(number).position(source),
      append: async (request: AppendDraft) => {
        this.asked.push(number);
        if (this.full.has(number)) throw new NorthError('CACHE_FULL', `The part ${number} is full.`);
        const death = this.#death;
        if (death === undefined || death.afterAppends-- > 0) return this.cache(number).append(request);
        const isStored = (death.stored & 1) === 1;
        death.stored >>= 1;
        if (isStored) await this.cache(number).append(request);
        throw new Error('The process is gone.');
      },
    };
  }

  formerConnections(nowMs: number): readonly number[] {
    return this.#former
      .filter(({ untilMs }) => nowMs < untilMs + KEY_RETENTION_MS)
      .map(({ connections }) => connections);
  }

  cache(number: number): CacheFront {
    let cache = this.#caches.get(number);
    if (cache === undefined) {
      const store = openIn(partFolder(this.folder, number), this.limits);
      const { cacheId } = store;
      cache = openDirectCache({ store, cacheId, clock: this.clock, schedule: (work) => queueMicrotask(work) });
      this.#stores.set(number, store);
      this.#caches.set(number, cache);
    }
    return cache;
  }

  /** All messages that wait. */
  get waitingCount(): number {
    return [...this.byTopic().values()].flat().length;
  }

  /** What waits in a part, lane after lane. */
  waiting(number: number): { topic: string; text: string }[] {
    this.cache(number);
    const store = this.#stores.get(number)!;
    const messages: StoredMessage[] = [];
    let after: string | undefined;
    do {
      const page = store.list({ state: 'waiting', limit: 1000, ...(after === undefined ? {} : { after }) });
      messages.push(...page.messages);
      after = page.cursor;
    } while (after !== undefined);
    return messages.map(({ record }) => {
      const { topic, payload } = readRecord(record, 0)!;
      return { topic: Buffer.from(topic).toString(), text: Buffer.from(payload).toString() };
    });
  }

  /** The payloads of each topic, in their order; a topic whose messages wait in several parts has those of all. */
  byTopic(): Map<string, string[]> {
    const topics = new Map<string, string[]>();
    for (const number of findParts(this.folder)) {
      for (const { topic, text } of this.waiting(number)) topics.set(topic, [...(topics.get(topic) ?? []), text]);
    }
    return topics;
  }

  /** Everything that waits is acknowledged. */
  settleAll(): void {
    for (const number of findParts(this.folder)) this.cache(number);
    for (const store of this.#stores.values()) {
      const { nextOffsets } = store.status();
      const lanes = Object.fromEntries(
        LANES.map((lane) => [lane, { firstUnsettled: nextOffsets[lane], boundOffset: nextOffsets[lane], settled: [] }]),
      ) as never;
      store.execute([{ kind: 'save', progress: { lanes, received: [] }, quarantine: [], atMs: this.clock.wallMs() }]);
    }
  }

  close(): void {
    for (const store of this.#stores.values()) store.close();
    this.#stores.clear();
    this.#caches.clear();
  }
}

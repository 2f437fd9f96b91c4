/**
 * Stores what was made of content in several parts, each with a cache of its own.
 *
 * A transaction is within one part, so that a crash, or a part that is full, may leave some parts with their share and
 * others without. With a key that is mended by asking again:
 *
 * 1. The part that the key names, its home, remembers the key with the hash of the content, the answer, and how many
 *    connections there are. The same key with other content is refused here, before anything of it is stored.
 * 2. Each part stores its share, under the key as well. One that has it already stores nothing.
 *
 * A repetition goes the same way, so that each part stores what it has not yet. After the number of connections has
 * changed, the homes of before are asked first, the oldest one at the beginning, for as long as keys are remembered. Of
 * several answers that of the oldest sharing counts, and what was begun by it is completed by it; homes that have not
 * known the key remember the answer that was found until then.
 *
 * A position is stored by the first part, after everything else: what lies before it is stored everywhere.
 */
import { createHash } from 'node:crypto';
import type { AppendReply } from '../cache/store.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { FileOptions } from '../inputs/file.js';
import type { Collector } from '../transform/collector.js';
import type { AcceptOptions, Receipt } from './connector.js';
import { type AppendDraft, type ContentStore, draftOf, type FileStore, hashOf } from './content-store.js';
import { allSettled, type Parts } from './parts.js';
import { openSharedFile } from './shared-file.js';
import { FIRST_PART, partOf, type Shares, shareOut } from './sharing.js';
import { type Sharing, UNSHARED } from './sharing-record.js';

export interface SharedStoreOptions {
  parts: Parts;
  clock: Clock;
  idempotencyRetentionMs: number;
}

/** What a home remembers. Without a number, the messages were stored with the key: there was one connection then. */
type Answer = Receipt & Partial<Sharing>;

interface Keyed {
  key: string;
  contentHash: string;
  expiresAtMs: number;
}

export class SharedStore implements ContentStore {
  readonly #options: SharedStoreOptions;
  /**
   * Parts that refused what they were asked last. They are asked before the others, so that a producer that tries again
   * and again is refused before the others have taken the same again.
   */
  readonly #refusing = new Set<number>();

  constructor(options: SharedStoreOptions) {
    this.#options = options;
  }

  async store(collected: Collector, receipt: Receipt, options: AcceptOptions): Promise<Receipt> {
    const { parts, clock, idempotencyRetentionMs } = this.#options;
    const request = draftOf(collected, clock.wallMs());
    const { position, idempotencyKey } = options;
    if (position === undefined && idempotencyKey === undefined) {
      await this.#appendAll(shareOut(request, parts.sharing.connections));
      return receipt;
    }
    if (idempotencyKey === undefined && request.batches.length + request.quarantined.length === 0) {
      await this.#append(FIRST_PART, { ...request, ...(position === undefined ? {} : { position }) });
      return receipt;
    }
    const contentHash = hashOf(collected);
    const key = idempotencyKey ?? (await this.#keyOfPosition(position, contentHash));
    const expiresAtMs = request.acceptedAtMs + idempotencyRetentionMs;
    const given = await this.#storeOnce(request, receipt, { key, contentHash, expiresAtMs });
    if (position !== undefined) await this.#append(FIRST_PART, { ...nothing(request.acceptedAtMs), position });
    return given;
  }

  openFile(options: FileOptions): Promise<FileStore> {
    return openSharedFile(this.#options.parts, options);
  }

  /** Gives the receipt of the first time. */
  async #storeOnce(request: AppendDraft, receipt: Receipt, keyed: Keyed): Promise<Receipt> {
    let answer: Answer = { ...receipt, ...this.#options.parts.sharing };
    for (const home of this.#homesOf(keyed.key, request.acceptedAtMs)) {
      const reply = await this.#claim(home, request.acceptedAtMs, answer, keyed);
      const known = reply.replayed ? answerOf(reply, answer) : answer;
      if (generationOf(known) <= generationOf(answer)) answer = known;
    }
    return this.#complete(request, answer, keyed);
  }

  /** Those of before, the oldest one first, and the present one. */
  #homesOf(key: string, nowMs: number): ReadonlySet<number> {
    const { parts } = this.#options;
    const counts = [...parts.formerConnections(nowMs), parts.sharing.connections];
    return new Set(counts.map((connections) => homeOf(key, connections)));
  }

  #claim(home: number, acceptedAtMs: number, answer: Answer, keyed: Keyed): Promise<AppendReply> {
    return this.#append(home, {
      ...nothing(acceptedAtMs),
      idempotency: { ...keyed, answer: JSON.stringify(answer) },
    });
  }

  /** Stores what is not stored yet of content whose home knows it. */
  async #complete(request: AppendDraft, answer: Answer, keyed: Keyed): Promise<Receipt> {
    const { connections, generation: _, ...receipt } = answer;
    if (connections === undefined) return receipt;
    // A key that comes by HTTP has no line break, so that the two are never taken for each other.
    const idempotency = { ...keyed, key: `share\n${keyed.key}`, answer: '' };
    const shares = new Map<number, AppendDraft>();
    for (const [part, share] of shareOut(request, connections)) shares.set(part, { ...share, idempotency });
    await this.#appendAll(shares);
    return receipt;
  }

  /**
   * Stands for the key of content that comes with a position alone: the same content at the same place is stored once.
   * The position before it belongs to the place, so that what is handed in anew on purpose is taken anew.
   */
  async #keyOfPosition(position: AcceptOptions['position'], contentHash: string): Promise<string> {
    const source = position?.source ?? '';
    const before = await (await this.#options.parts.part(FIRST_PART)).position(source);
    const place = JSON.stringify([source, position?.value, before ?? null, contentHash]);
    return `position\n${createHash('sha256').update(place).digest('hex')}`;
  }

  async #appendAll(shares: Shares): Promise<void> {
    const others: [number, AppendDraft][] = [];
    for (const [part, share] of shares) {
      if (this.#refusing.has(part)) await this.#append(part, share);
      else others.push([part, share]);
    }
    await allSettled(others.map(([part, share]) => this.#append(part, share)));
  }

  /** What is stored at once is given to the cache before this returns, so that the order of requests is kept. */
  async #append(number: number, request: AppendDraft): Promise<AppendReply> {
    const found = this.#options.parts.part(number);
    const part = found instanceof Promise ? await found : found;
    try {
      const reply = await part.append(request);
      this.#refusing.delete(number);
      return reply;
    } catch (error) {
      const isAboutContent = error instanceof NorthError && error.code === 'IDEMPOTENCY_KEY_REUSED';
      if (!isAboutContent) this.#refusing.add(number);
      throw error;
    }
  }
}

function generationOf({ generation = UNSHARED.generation }: Answer): number {
  return generation;
}

function homeOf(key: string, connections: number): number {
  return partOf(Buffer.from(key), connections);
}

function nothing(acceptedAtMs: number): AppendDraft {
  return { batches: [], quarantined: [], acceptedAtMs };
}

function answerOf(reply: AppendReply, otherwise: Answer): Answer {
  return reply.answer === undefined ? otherwise : (JSON.parse(reply.answer) as Answer);
}

/** The caches of a connector's parts while it is decided which of them are in use. */
import { existsSync } from 'node:fs';
import type { Cache } from '../cache/cache.js';
import { cachePath } from '../cache/cache-file.js';
import { makeCacheFolder } from '../cache/data-directory.js';
import type { StoreStatus } from '../cache/store.js';
import { openCache } from '../cache/threaded-cache.js';
import type { ConnectorConfig } from '../config/connector.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import { partLimits, partLogger } from './part-config.js';
import { allSettled } from './parts.js';
import { waitingOf } from './shared-status.js';
import { FIRST_PART } from './sharing.js';
import {
  findParts,
  partFolder,
  readSharingRecord,
  type SharingRecord,
  UNSHARED,
  writeSharingRecord,
} from './sharing-record.js';

export interface PartCachesOptions {
  /** Of the connector. */
  folder: string;
  clock: Clock;
  logger: Logger;
  idempotencyRetentionMs: number;
}

export interface OpenPart {
  cache: Cache;
  opened: StoreStatus;
}

export interface Decision {
  record: SharingRecord;
  heldBack: string | undefined;
}

export class PartCaches {
  readonly open = new Map<number, OpenPart>();
  readonly #config: ConnectorConfig;
  readonly #options: PartCachesOptions;
  /** There was no cache before, and so no key that is remembered. */
  #isNew = false;
  #isWritten = false;

  constructor(config: ConnectorConfig, options: PartCachesOptions) {
    this.#config = config;
    this.#options = options;
  }

  /** Opens every cache that is there or must be there, and gives what was in effect. */
  async openAll(): Promise<SharingRecord> {
    const { folder } = this.#options;
    this.#isNew = !existsSync(cachePath(folder));
    const written = readSharingRecord(folder);
    const knownCount = written?.partsCount ?? 1;
    const numbers = new Set(findParts(folder));
    for (let number = FIRST_PART; number <= knownCount; number++) numbers.add(number);
    await allSettled([...numbers].map((number) => this.openPart(number, number <= knownCount)));
    this.#isWritten = written !== undefined;
    return written ?? this.#guessed();
  }

  /**
   * The record is written last, and may be missing after a crash, with nothing in the further parts. Where something waits
   * there, somebody has removed it; what its generation was nobody knows, so that it gets one that has never been.
   */
  #guessed(): SharingRecord {
    const connections = Math.max(FIRST_PART, ...this.#waiting());
    const generation = connections === 1 ? UNSHARED.generation : this.#options.clock.wallMs();
    return { connections, generation, partsCount: connections, former: [] };
  }

  async openPart(number: number, isKnown: boolean): Promise<OpenPart> {
    const { folder, clock, logger } = this.#options;
    const own = partFolder(folder, number);
    if (number !== FIRST_PART) makeCacheFolder(own, isKnown);
    const ownLogger = partLogger(logger, number);
    const cache = await openCache({
      folder: own,
      limits: partLimits(this.#config, this.#config.settings.connections, 0),
      clock,
      onFound: ({ code, message }) => ownLogger.error({ connector: this.#config.id, code }, message),
    });
    try {
      const part = { cache, opened: await cache.status() };
      this.open.set(number, part);
      return part;
    } catch (error) {
      await cache.close();
      throw error;
    }
  }

  /** Another number takes effect when nothing waits, and when there is room for the caches that it needs. */
  async decide(found: SharingRecord): Promise<Decision> {
    const { connections } = this.#config.settings;
    const next = this.#waiting().length > 0 ? found.connections : connections;
    const heldBack = next === connections ? undefined : heldBackText(connections, next, 'waiting');
    try {
      for (let number = FIRST_PART; number <= next; number++) {
        if (!this.open.has(number)) await this.openPart(number, false);
      }
      const record = this.#recordOf(found, next);
      const isNews = !this.#isWritten || JSON.stringify(record) !== JSON.stringify(found);
      if (isNews) writeSharingRecord(this.#options.folder, record);
      return { record, heldBack };
    } catch (error) {
      if (!(error instanceof NorthError) || error.code !== 'CACHE_DISK_FULL') throw error;
      // What is in effect goes on with a full disk; what else stands in the record can wait for the next start.
      if (next === found.connections) return { record: found, heldBack };
      return { record: found, heldBack: heldBackText(connections, found.connections, 'disk') };
    }
  }

  /** Closes what is neither in use nor holds anything, and gives each of the others its limits. */
  async release(record: SharingRecord): Promise<void> {
    let outOfUseBytes = 0;
    for (const [number, { cache, opened }] of [...this.open]) {
      if (number <= record.connections) continue;
      if (isHolding(opened)) outOfUseBytes += opened.sizeBytes;
      else {
        this.open.delete(number);
        await cache.close();
      }
    }
    const limits = partLimits(this.#config, record.connections, outOfUseBytes);
    for (const { cache } of this.open.values()) await cache.setLimits(limits);
  }

  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.open.values()].map(({ cache }) => cache.close()));
  }

  #recordOf(found: SharingRecord, connections: number): SharingRecord {
    const { clock, idempotencyRetentionMs } = this.#options;
    const nowMs = clock.wallMs();
    const former = found.former.filter(({ untilMs }) => nowMs < untilMs + idempotencyRetentionMs);
    const isChanged = connections !== found.connections;
    const holding = [...this.open].filter(([, { opened }]) => isHolding(opened)).map(([number]) => number);
    return {
      connections,
      generation: found.generation + (isChanged ? 1 : 0),
      partsCount: Math.max(connections, ...holding),
      former: isChanged && !this.#isNew ? [...former, { connections: found.connections, untilMs: nowMs }] : former,
    };
  }

  /** The parts in which something waits. */
  #waiting(): number[] {
    return [...this.open].filter(([, { opened }]) => waitingOf(opened) > 0).map(([number]) => number);
  }
}

function isHolding(opened: StoreStatus): boolean {
  return waitingOf(opened) + opened.quarantinedCount + opened.archivedCount > 0;
}

function heldBackText(configured: number, inEffect: number, reason: 'waiting' | 'disk'): string {
  const why =
    reason === 'disk'
      ? 'there is no room on the disk for further caches'
      : 'messages wait, whose order within a topic would be lost';
  return (
    `The setting connections is ${configured}, and ${inEffect} ${inEffect === 1 ? 'is' : 'are'} still in effect: ${why}. ` +
    'It changes at the first start, or with the first new configuration of the connector, that finds nothing waiting.'
  );
}

/** All tables of one open `cache.db`, with their statements prepared once. */
import type Database from 'better-sqlite3';
import { NorthError } from '../core/error.js';
import { ArchiveTable } from './archive-table.js';
import { BatchTable } from './batch-table.js';
import { FindingTable } from './finding-table.js';
import { HoleTable } from './hole-table.js';
import { IdempotencyTable } from './idempotency-table.js';
import { LaneTable } from './lane-table.js';
import { QuarantineTable } from './quarantine-table.js';
import { PAGE_SIZE_BYTES } from './schema.js';
import { SessionTable } from './session-table.js';

export class Tables {
  readonly db: Database.Database;
  readonly cacheId: string;
  readonly lanes: LaneTable;
  readonly session: SessionTable;
  readonly batches: BatchTable;
  readonly holes: HoleTable;
  readonly archive: ArchiveTable;
  readonly quarantine: QuarantineTable;
  readonly idempotency: IdempotencyTable;
  readonly findings: FindingTable;
  readonly #begin: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  readonly #pageCount: Database.Statement<[], number>;
  readonly #freeCount: Database.Statement<[], number>;
  readonly #position: Database.Statement<[string], string>;
  readonly #setPosition: Database.Statement<[string, string]>;
  readonly #repairId: Database.Statement<[], string>;
  readonly #setRepairId: Database.Statement<[string]>;

  /** Throws CACHE_DAMAGED when what must be there is not. */
  constructor(db: Database.Database) {
    this.db = db;
    this.lanes = new LaneTable(db);
    this.session = new SessionTable(db);
    this.batches = new BatchTable(db);
    this.holes = new HoleTable(db);
    this.archive = new ArchiveTable(db);
    this.quarantine = new QuarantineTable(db);
    this.idempotency = new IdempotencyTable(db);
    this.findings = new FindingTable(db);
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
    this.#pageCount = db.prepare<[], number>('PRAGMA page_count').pluck();
    this.#freeCount = db.prepare<[], number>('PRAGMA freelist_count').pluck();
    this.#position = db.prepare<[string], string>('SELECT value FROM position WHERE source = ?').pluck();
    this.#setPosition = db.prepare('INSERT OR REPLACE INTO position (source, value) VALUES (?, ?)');
    this.#repairId = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'repair'").pluck();
    this.#setRepairId = db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('repair', ?)");
    this.cacheId = readCacheId(db);
    this.lanes.load();
    this.session.load();
  }

  /**
   * Runs `work` in one transaction, which is on stable storage when this returns. When it throws, everything is as it was
   * before, what is kept in memory included.
   */
  transact<T>(work: () => T): T {
    this.#begin.run();
    const lanes = this.lanes.snapshot();
    const session = this.session.snapshot();
    try {
      const result = work();
      this.lanes.save();
      this.#commit.run();
      this.lanes.committed();
      return result;
    } catch (error) {
      this.lanes.restore(lanes);
      this.session.restore(session);
      this.holes.rolledBack();
      // SQLite rolls back by itself after some errors, such as a full disk.
      if (this.db.inTransaction) this.#rollback.run();
      throw error;
    }
  }

  position(source: string): string | undefined {
    return this.#position.get(source);
  }

  setPosition(source: string, value: string): void {
    this.#setPosition.run(source, value);
  }

  /** The repair whose outcome was committed last; see repair-record.ts. */
  repairId(): string | undefined {
    return this.#repairId.get();
  }

  setRepairId(id: string): void {
    this.#setRepairId.run(id);
  }

  /** Bytes in pages that hold something; inside a transaction, as it has left them so far. */
  usedSizeBytes(): number {
    return (this.#pageCount.get()! - this.#freeCount.get()!) * PAGE_SIZE_BYTES;
  }

  freeSizeBytes(): number {
    return this.#freeCount.get()! * PAGE_SIZE_BYTES;
  }
}

function readCacheId(db: Database.Database): string {
  const cacheId = db.prepare<[], string>("SELECT value FROM meta WHERE key = 'cacheId'").pluck().get();
  if (cacheId === undefined || !/^[0-9a-f]{8}$/.test(cacheId)) {
    throw new NorthError('CACHE_DAMAGED', "The cache's own id cannot be read.");
  }
  return cacheId;
}

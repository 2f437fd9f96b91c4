/**
 * A run of the connector over a real cache file, with what the broker and the producers knew at every transaction: so that
 * the files can be cut anywhere, and the world go on from what is left of them.
 */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteStore, type SqliteStore } from '../../src/cache/sqlite-store.js';
import type { StoreReply, StoreRequest } from '../../src/cache/store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import type { WorldPlan } from './plan.js';
import { type DiskOptions, SimulatedDisk } from './simulated-disk.js';
import { verdictOf } from './verdict.js';
import { World } from './world.js';
import { limitsOf } from './world-config.js';
import type { Beginning } from './world-options.js';

export const WAL_HEADER_BYTES = 32;
export const FRAME_BYTES = 24 + 4096;

/** Everything but the image, which comes from the files. */
type Moment = Omit<Beginning, 'image'>;

interface Commit {
  /** Length of the log when the transaction was durable. */
  walBytes: number;
  /** Right after it, and right before the next one: all that happened on the ground of it lies between the two. */
  early: Moment;
  late: Moment;
}

export interface RecordedRun {
  plan: WorldPlan;
  /** The file as it stayed: nothing was carried over. */
  db: Buffer;
  wal: Buffer;
  commits: readonly Commit[];
}

/** Writes to a real file, and takes down the moments. */
class RecordingDisk extends SimulatedDisk {
  readonly commits: { walBytes: number; early: Moment; late?: Moment }[] = [];
  /** Set when the world is made. */
  moment: () => Moment = () => {
    throw new Error('Nobody knows what the world is like.');
  };
  readonly #folder: string;
  readonly #options: DiskOptions;
  #store: SqliteStore | undefined;

  constructor(options: DiskOptions, folder: string) {
    super(options);
    this.#options = options;
    this.#folder = folder;
  }

  protected override openStore(): SqliteStore {
    const { limits, wallMs } = this.#options;
    this.#store = openSqliteStore({ folder: this.#folder, limits, wallMs });
    return this.#store;
  }

  override execute(store: SqliteStore, requests: readonly StoreRequest[]): StoreReply[] {
    this.#close();
    const replies = super.execute(store, requests);
    this.commits.push({ walBytes: this.walBytes, early: this.moment() });
    return replies;
  }

  /** The last transaction has had all its consequences that it has before the next one. */
  #close(): void {
    const last = this.commits.at(-1);
    if (last !== undefined) last.late = this.moment();
  }

  get walBytes(): number {
    return statSync(join(this.#folder, 'cache.db-wal')).size;
  }

  override dispose(): void {
    this.#store?.close();
    super.dispose();
  }
}

export async function recordRun(plan: WorldPlan): Promise<RecordedRun> {
  const folder = temporaryFolder('recorded');
  // Made before the run, so that the log begins with what the run writes.
  openSqliteStore({ folder, limits: limitsOf(plan) }).close();
  const before = readFileSync(join(folder, 'cache.db'));
  let disk: RecordingDisk | undefined;
  const world = new World(plan, {
    openDisk: (options) => {
      disk = new RecordingDisk(options, folder);
      return disk;
    },
  });
  if (disk === undefined) throw new Error('The world has not opened its disk.');
  const recorded = disk;
  recorded.moment = () => momentOf(world);
  // Before the first transaction nothing was promised.
  recorded.commits.push({ walBytes: 0, early: momentOf(world) });
  const problems = [...(await world.run()), ...verdictOf(world)];
  if (problems.length > 0) throw new Error(`The run itself fails: ${problems.join(' | ')}`);
  const last = momentOf(world);
  const wal = readFileSync(join(folder, 'cache.db-wal'));
  const db = readFileSync(join(folder, 'cache.db'));
  if (!db.equals(before)) throw new Error('The log was carried over, and cannot be cut any more.');
  const commits = recorded.commits.map(({ walBytes, early, late = last }) => ({ walBytes, early, late }));
  world.dispose();
  return { plan, db, wal, commits };
}

function momentOf(world: World): Moment {
  return {
    nowMs: world.timeline.nowMs,
    stored: world.stored.copy(() => true),
    places: world.places.copy(),
    draftCount: world.disk.quarantine.draftCount,
    broker: world.broker.remember(),
    outcomes: world.workforce.producers.map(({ outcome }) => outcome),
  };
}

/** Opens what is left of the files again and again, and lets the world go on from it. */
export class Aftermath {
  readonly #run: RecordedRun;
  readonly #folder = temporaryFolder('aftermath');

  constructor(run: RecordedRun) {
    this.#run = run;
  }

  /** The last transaction that is whole in a log of this length. */
  lastCommit(walBytes: number): Commit {
    const { commits } = this.#run;
    return commits.findLast((commit) => commit.walBytes <= walBytes) ?? commits[0]!;
  }

  /** What is wrong with the world that goes on from this log at this moment; nothing when all is well. */
  async problems(wal: Uint8Array, moment: Moment): Promise<string[]> {
    const { plan } = this.#run;
    const image = this.#recover(wal);
    const world = new World({ ...plan, faults: [], endsStopped: false }, { beginning: { ...moment, image } });
    try {
      const lost = receiptsLost(world);
      const problems = lost.length > 0 ? lost : await world.run();
      return problems.length > 0 ? problems : verdictOf(world);
    } finally {
      world.dispose();
    }
  }

  /** The cache file after the product has opened it with this log, and closed it. */
  #recover(wal: Uint8Array): Buffer {
    const path = join(this.#folder, 'cache.db');
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    writeFileSync(path, this.#run.db);
    if (wal.length > 0) writeFileSync(`${path}-wal`, wal);
    const store = openSqliteStore({ folder: this.#folder, limits: limitsOf(this.#run.plan) });
    const { findings } = store.status();
    store.close();
    if (findings.length > 0) throw new Error(`The cache is said to be damaged: ${findings[0]!.message}`);
    const image = readFileSync(path);
    // In memory there is no write-ahead log; the header says whether there is one.
    image[18] = 1;
    image[19] = 1;
    return image;
  }
}

/** Every receipt that was given must hold: its messages are in the cache. */
function receiptsLost(world: World): string[] {
  return world.workforce.producers
    .filter(({ outcome }) => outcome === 'accepted')
    .flatMap(({ messages }) => messages.filter(({ name }) => !world.places.has(name)))
    .map(({ name }) => `${name} has a receipt and is gone.`);
}

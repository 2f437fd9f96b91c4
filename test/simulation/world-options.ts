/** How a world may begin, besides anew. */
import type { BrokerMemory } from './model-broker.js';
import type { Places } from './places.js';
import type { Outcome } from './producer.js';
import type { DiskOptions, SimulatedDisk } from './simulated-disk.js';
import type { StoredProgress } from './stored-progress.js';

/** Where a world goes on from: what another one had on its disk, and what its broker and its producers knew. */
export interface Beginning {
  image: Buffer;
  nowMs: number;
  stored: StoredProgress;
  places: Places;
  draftCount: number;
  broker: BrokerMemory;
  outcomes: readonly Outcome[];
}

export interface WorldOptions {
  /** Computes the digest, which takes its time. */
  isTraced?: boolean;
  beginning?: Beginning;
  /** A disk of another kind. */
  openDisk?: (options: DiskOptions) => SimulatedDisk;
}

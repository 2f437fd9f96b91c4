/** What is stored of a session: between the session, which makes it, and the cache, which keeps it. */
import type { Lane } from './lane.js';
import type { OffsetRange } from './message.js';

/** A run of consecutive messages of one lane, in the form of `record.ts`. */
export interface Batch {
  lane: Lane;
  firstOffset: number;
  count: number;
  acceptedAtMs: number;
  data: Uint8Array;
}

export interface LaneProgress {
  firstUnsettled: number;
  /** Offsets at and above this have certainly not been sent. */
  boundOffset: number;
  /** Settled ranges at or above `firstUnsettled`, ascending, not touching each other. */
  settled: readonly OffsetRange[];
}

/** What is stored of a session, besides its identity. */
export interface SessionProgress {
  lanes: Readonly<Record<Lane, LaneProgress>>;
  /** In the order of the PUBRECs, which is the order of the PUBRELs after a reconnect [MQTT-4.6.0-4]. */
  received: readonly (OffsetRange & { lane: Lane })[];
}

/** Whose session the progress belongs to. A different broker or client id has no memory of our packet ids. */
export interface SessionIdentity {
  broker: string;
  clientId: string;
}

export interface QuarantineReason {
  code: string;
  /** The broker's own words, or ours. */
  reason: string;
}

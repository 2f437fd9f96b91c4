/** What was measured, and what it means. */
import type { NorthError } from '../core/error.js';
import type { FileSystem } from '../selftest/file-system.js';
import type { SyncTiming } from '../selftest/sync-timing.js';
import type { AcceptanceRate } from './acceptance-rate.js';
import type { Limit } from './limit.js';
import type { RoundTrip } from './round-trip.js';
import type { Throughput } from './throughput.js';

export interface LimitedThroughput extends Throughput {
  /** Undefined when nothing was acknowledged. */
  limit: Limit | undefined;
}

/** Times in milliseconds, rates in messages per second, sizes in bytes, as the names say; unless they say otherwise. */
export interface MeasurementReport {
  version: string;
  startedAt: string;
  elapsedSeconds: number;
  broker: string;
  topic: string;
  payloadBytes: number;
  /** Undefined when no limit was given. */
  rate: number | undefined;
  machine: { coresCount: number; model: string; node: string };
  /** What the broker announced. A 3.1.1 broker announces nothing. */
  grant:
    | {
        protocolVersion: 4 | 5;
        maximumQos: 0 | 1 | 2;
        receiveMaximum: number | undefined;
        maximumPacketSizeBytes: number | undefined;
      }
    | undefined;
  roundTrip: RoundTrip;
  disk: { fileSystem: FileSystem; sync: SyncTiming } | undefined;
  acceptance: AcceptanceRate | undefined;
  throughput: readonly LimitedThroughput[];
  /** What a reader should know of the figures. */
  notes: readonly string[];
  isInterrupted: boolean;
  /** Why it ended before its time; the figures until then are there. */
  failure: NorthError | undefined;
}

/** All targets by name, for the command line and for the cases that were kept. */
import { configuration } from './configuration.js';
import { csv } from './csv.js';
import { files } from './files.js';
import { caseAt, type FuzzOptions, type FuzzReport, type FuzzTarget, fuzz, fuzzOne } from './fuzz.js';
import { json } from './json.js';
import { oibusImport } from './oibus-import.js';
import { packets } from './packets.js';
import { records } from './records.js';
import { requests } from './requests.js';
import { sockets } from './sockets.js';

export interface Entry {
  run(options: FuzzOptions): Promise<FuzzReport>;
  /** Tries a case that was kept. */
  tryOne(fuzzCase: unknown): Promise<void>;
  /** The case with this number of the batch with this seed. */
  caseAt(seed: number, index: number): Promise<unknown>;
}

export function entry<C>(target: FuzzTarget<C>): Entry {
  return {
    run: (options) => fuzz(target, options),
    // It was printed by the same target.
    tryOne: (fuzzCase) => fuzzOne(target, fuzzCase as C),
    caseAt: (seed, index) => caseAt(target, seed, index),
  };
}

/** These try hundreds of cases a second, and requests a hundred. */
const quick: Readonly<Record<string, Entry>> = {
  requests: entry(requests),
  csv: entry(csv),
  json: entry(json),
  configuration: entry(configuration),
  packets: entry(packets),
  records: entry(records),
  import: entry(oibusImport),
};

/** These try a few cases a second, so that they only run when they are asked for. */
const slow: Readonly<Record<string, Entry>> = { files: entry(files), sockets: entry(sockets) };

export const TARGETS: Readonly<Record<string, Entry>> = { ...quick, ...slow };
export const QUICK_TARGETS: readonly string[] = Object.keys(quick);

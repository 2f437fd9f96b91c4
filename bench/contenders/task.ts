/** What a contender is asked to do: one argument of JSON. Its answer is one line of JSON; see `measurement.ts`. */
export interface Task {
  port: number;
  /** Whose share of a core is measured besides its own. */
  brokerPid: number;
  qos: 0 | 1 | 2;
  /** Messages in flight at most. 0: the contender finds its own size; only the product does. */
  window: number;
  payloadSizeBytes: number;
  extent: CountedExtent | TimedExtent;
}

/**
 * First `warmupCount` messages to the end, so that code is compiled and windows have grown; then `count` messages
 * from the first one handed in to the last one acknowledged.
 */
export interface CountedExtent {
  warmupCount: number;
  count: number;
}

/**
 * Publishes without an end. After `warmupMs` it counts acknowledgements for `durationMs`: for what is so slow or so
 * different in speed that a count would take too long or end too soon.
 */
export interface TimedExtent {
  warmupMs: number;
  durationMs: number;
}

export function isTimed(extent: Task['extent']): extent is TimedExtent {
  return 'durationMs' in extent;
}

export function readTask(): Task {
  const text = process.argv[2];
  if (text === undefined) throw new Error('A task is expected as the first argument.');
  // The runner of the benchmark is the only one who writes it.
  return JSON.parse(text) as Task;
}

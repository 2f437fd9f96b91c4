/** What a contender is asked to do, and how it answers: one argument of JSON, one line of JSON. */
export interface Task {
  port: number;
  count: number;
  qos: 0 | 1 | 2;
  /** Messages in flight at most; the product finds its own. */
  window: number;
  payloadSizeBytes: number;
}

export interface Result {
  count: number;
  elapsedMs: number;
}

export function readTask(): Task {
  const text = process.argv[2];
  if (text === undefined) throw new Error('A task is expected as the first argument.');
  return JSON.parse(text) as Task;
}

export function report(result: Result): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

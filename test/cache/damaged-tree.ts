/** A cache that opens, and is found damaged when its first messages are read: only a rebuild helps it then. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { append, execute, LIMITS, numbered } from './requests.js';
import { openIn } from './sqlite-subject.js';

const PAGE_SIZE_BYTES = 4096;

export function makeDamagedTree(folder: string): void {
  const store = openIn(folder, LIMITS);
  // A batch of many pages, whose chain is cut in the middle.
  const many = numbered('message-', 1500).map((text) => text.padEnd(40, '.'));
  for (const texts of [['first'], many, ['last']]) execute(store, append('telemetry', texts));
  store.close();
  const path = join(folder, 'cache.db');
  const bytes = readFileSync(path);
  const at = bytes.indexOf('message-700.');
  if (at < 0) throw new Error('The batch is not in the file.');
  const start = at - (at % PAGE_SIZE_BYTES);
  bytes.fill(0xff, start, start + 4);
  writeFileSync(path, bytes);
}

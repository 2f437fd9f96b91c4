/**
 * The thread that owns the store of one cache.
 *
 * While a transaction syncs, calls queue up in the port. All of them are taken out together and committed in one
 * transaction, so that one sync serves everybody who came meanwhile.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { tendIdleMemory } from '../core/idle-memory.js';
import { type Answer, type Call, type CarriedError, carryError, type Opening } from './calls.js';
import { Parcel } from './parcel.js';
import { serveCalls } from './serve.js';
import { openSqliteStore, type SqliteStore, type SqliteStoreOptions } from './sqlite-store.js';
import type { CacheFinding } from './store.js';

export type WorkerMessage =
  | { kind: 'opened'; opening: Opening }
  | { kind: 'failed'; error: CarriedError }
  | { kind: 'found'; finding: CacheFinding }
  | { kind: 'answers'; answers: Answer[] };

const port = parentPort;
if (port !== null) {
  // The thread is started by `openCache` alone, which gives these options.
  const options = workerData as Pick<SqliteStoreOptions, 'folder' | 'limits'>;
  const say = (message: WorkerMessage, transferred: ArrayBuffer[] = []): void => port.postMessage(message, transferred);
  let store: SqliteStore | undefined;
  try {
    store = openSqliteStore({ ...options, onFound: (finding) => say({ kind: 'found', finding }) });
    const opening = { cacheId: store.cacheId, progress: store.progress(), identity: store.identity() };
    say({ kind: 'opened', opening });
  } catch (error) {
    say({ kind: 'failed', error: carryError(error) });
    port.close();
  }
  if (store !== undefined) {
    const opened = store;
    tendIdleMemory();
    const answer = (answers: Answer[]): void => {
      const parcel = new Parcel();
      for (const one of answers) {
        if (one.kind === 'read') for (const batch of one.batches) batch.data = parcel.add(batch.data);
      }
      say({ kind: 'answers', answers }, parcel.buffers);
    };
    port.on('message', (calls: Call[]) => {
      for (;;) {
        let more = receiveMessageOnPort(port);
        for (; more !== undefined; more = receiveMessageOnPort(port)) calls.push(...(more.message as Call[]));
        serveCalls(opened, calls, answer);
        if (calls.some((call) => call.kind === 'close')) {
          port.close();
          return;
        }
        const next = receiveMessageOnPort(port);
        if (next === undefined) break;
        calls = next.message as Call[];
      }
      opened.tend();
    });
  }
}

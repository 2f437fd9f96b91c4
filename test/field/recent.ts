/** How many acknowledgements may not be on disk yet when a service is killed, seen from outside of it. */
import { closeSync, fdatasync, openSync, write } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import mqttPacket from 'mqtt-packet';
import { startProxy } from '../kit/proxy.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const PROBE_PERIOD_MS = 10;
const PAGE = Buffer.alloc(4096, 0x5a);

/** Counts the PUBACKs of the first connection on their way to the client, with the moment of each. */
export async function startAckCounter(t: TestContext, targetPort: number): Promise<{ url: string; atMs: number[] }> {
  const atMs: number[] = [];
  const parser = mqttPacket.parser({ protocolVersion: 5 });
  parser.on('packet', ({ cmd }) => {
    if (cmd === 'puback') atMs.push(performance.now());
  });
  const proxy = await startProxy({
    targetPort,
    passed: (connection, direction, chunk) => {
      if (connection === 1 && direction === 'toClient') parser.parse(chunk);
    },
  });
  t.after(() => proxy.close());
  return { url: proxy.url, atMs };
}

export interface SyncProbe {
  /** The longest time of those that were under way since that moment; so far, where one still is. */
  longestMs(sinceMs: number): number;
}

/** Writes and syncs a page again and again until the test is over, on the disk that all its folders are on. */
export function startSyncProbe(t: TestContext): SyncProbe {
  const descriptor = openSync(join(temporaryFolder('probe'), 'pages'), 'w');
  const syncs: { startMs: number; endMs: number }[] = [];
  let isStopped = false;
  let startMs = 0;
  const probe = async (): Promise<void> => {
    while (!isStopped) {
      startMs = performance.now();
      await promisify(write)(descriptor, PAGE);
      await promisify(fdatasync)(descriptor);
      syncs.push({ startMs, endMs: performance.now() });
      startMs = Number.POSITIVE_INFINITY;
      await new Promise((resolve) => setTimeout(resolve, PROBE_PERIOD_MS));
    }
    closeSync(descriptor);
  };
  const probing = probe();
  t.after(() => {
    isStopped = true;
    return probing;
  });
  return {
    longestMs(sinceMs) {
      const recent = syncs.filter(({ endMs }) => endMs >= sinceMs).map((sync) => sync.endMs - sync.startMs);
      return Math.max(...recent, performance.now() - startMs);
    },
  };
}

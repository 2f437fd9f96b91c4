// Appends and settles as fast as it can in the folder given, and prints each receipt only when it has it, until it is
// killed. Every third append goes to the alert lane; now and then messages are settled and set aside.
import { writeSync } from 'node:fs';
import { openCache } from '../../src/cache/threaded-cache.js';
import { append, LIMITS, START_MS } from './requests.js';

const [folder, archive] = process.argv.slice(2);
const limits = { ...LIMITS, archiveEnabled: archive === 'archive', archiveRetentionMs: 0 };
const cache = await openCache({ folder: folder!, limits });
const settledTo = { command: 0, alert: 0, telemetry: 0 };
for (const lane of ['alert', 'telemetry'] as const) settledTo[lane] = cache.progress.lanes[lane].firstUnsettled;
// A pipe is written at once, so that what is printed here was printed before the kill.
writeSync(1, 'open\n');

let number = 0;
async function produce(): Promise<void> {
  for (;;) {
    const mine = number++;
    const lane = mine % 3 === 0 ? 'alert' : 'telemetry';
    const texts = Array.from({ length: 1 + (mine % 7) }, (_, index) => `${process.pid}-${mine}-${index}`);
    const idempotency = { key: texts[0]!, contentHash: 'h', expiresAtMs: START_MS + 1, answer: `receipt of ${mine}` };
    const reply = await cache.append(append(lane, texts, { idempotency }));
    const { from } = reply.ranges[0]!;
    writeSync(1, `stored ${lane} ${from} ${texts.join(' ')}\n`);
    if (mine % 5 === 0) await settle(lane, from);
  }
}

async function settle(lane: 'alert' | 'telemetry', to: number): Promise<void> {
  if (to <= settledTo[lane]) return;
  const offset = settledTo[lane];
  settledTo[lane] = to;
  const progressOf = (one: 'command' | 'alert' | 'telemetry') => {
    const firstUnsettled = settledTo[one];
    return { firstUnsettled, boundOffset: firstUnsettled + 10, settled: [] };
  };
  const lanes = { command: progressOf('command'), alert: progressOf('alert'), telemetry: progressOf('telemetry') };
  const quarantine = [{ lane, offset, code: 'PUBLISH_REFUSED', reason: 'no' }];
  await new Promise<void>((resolve, reject) => {
    cache.save({ progress: { lanes, received: [] }, quarantine, atMs: START_MS }, (error) => {
      if (error !== undefined) return reject(error);
      writeSync(1, `settled ${lane} ${to} ${offset}\n`);
      resolve();
    });
  });
}

await Promise.all(Array.from({ length: 8 }, produce));

/** What a service with nothing to do takes of its machine, beside a Node.js with nothing in it. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { BUILD_FOLDER, startProcess } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { serviceFolder } from './service-process.js';

/** It was 2.1 when this was written, 2.4 with packages that nobody used, 3.5 with all that the start had grown by. */
const RATIO_MAX = 2.3;
/** The service looks every ten seconds whether it has become quiet, and waits until it has. */
const QUIET_TIMEOUT_MS = 120_000;

function residentKiB(pid: number): number {
  const [, size = ''] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(size);
}

const skip = existsSync('/proc/self/status') ? false : 'memory is read from /proc';

test('a service that is online and idle takes little more than twice the memory of a bare Node.js', {
  skip,
}, async (t) => {
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  const bare = startProcess(process.execPath, ['-e', 'setInterval(() => {}, 1e6); console.log("ready")']);
  t.after(() => bare.kill());
  await bare.waitForOutput('ready', 30_000);
  const { configFile, folder } = serviceFolder({
    connectors: [
      {
        id: 'plant',
        settings: { url: `mqtt://127.0.0.1:${broker.port}` },
        transformers: [{ type: 'messages-to-mqtt' }],
      },
    ],
  });
  // Without source maps, as a user starts it.
  const service = startProcess(process.execPath, [join(BUILD_FOLDER, 'src/cli/main.js'), 'run', '-c', configFile], {
    cwd: folder,
  });
  t.after(() => service.kill());
  await service.waitForOutput('connected to mqtt:', 30_000);
  await eventually(
    () => {
      const ratio = residentKiB(service.pid) / residentKiB(bare.pid);
      if (ratio > RATIO_MAX)
        throw new Error(`${residentKiB(service.pid)} KiB, ${ratio.toFixed(2)} times the bare one's`);
      return true;
    },
    `at most ${RATIO_MAX} times the memory of a bare Node.js`,
    QUIET_TIMEOUT_MS,
  );
});

/**
 * `mosquitto_pub -l`, which publishes each line of its input. It is measured as a whole process, from its start to its
 * end, and counted runs only: it tells nobody how far it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/kit/temporary-folder.js';
import { killAtEnd } from '../../test/kit/watchdog.js';
import { CpuShare } from '../cpu-share.js';
import { watchArrival } from './arrival.js';
import { print } from './measurement.js';
import { isTimed, readTask } from './task.js';

/**
 * It reads all its input at once and ends when the packet identifier of the last line is acknowledged. With more lines
 * than there are identifiers, an earlier message has that one, too: of 200,000 lines, 69,000 arrived (2.0.11).
 */
const LINES_MAX = 65_535;

const task = readTask();
if (isTimed(task.extent)) throw new Error('mosquitto_pub can be measured by a count only.');
const { count } = task.extent;
if (task.qos > 0 && count > LINES_MAX)
  throw new Error(`mosquitto_pub loses lines when there are more than ${LINES_MAX}.`);

const file = join(temporaryFolder('bench-lines'), 'lines');
writeFileSync(file, `${'a'.repeat(task.payloadSizeBytes)}\n`.repeat(count));
const lines = openSync(file, 'r');
const arrival = task.qos === 0 ? await watchArrival(task) : undefined;
const arrived = arrival?.reach(count);

const broker = new CpuShare(task.brokerPid);
const startMs = performance.now();
const child = spawn(
  'mosquitto_pub',
  [
    ...['-h', '127.0.0.1', '-p', String(task.port), '-i', 'bench-mosquitto-pub', '-t', 'bench/mosquitto-pub'],
    ...['-q', String(task.qos), '-l'],
    ...(task.qos > 0 ? ['-M', String(task.window)] : []),
  ],
  { stdio: [lines, 'ignore', 'inherit'] },
);
killAtEnd(child);
const [code] = await once(child, 'exit');
if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}.`);
await arrived;
const elapsedMs = performance.now() - startMs;
print({ count, elapsedMs, brokerCpuShare: broker.share, ownCpuShare: endedChildrenCpuMs() / elapsedMs });
closeSync(lines);
process.exit(0);

/** CPU time of the children that have ended: cutime and cstime, the 16th and 17th field, in hundredths of a second. */
function endedChildrenCpuMs(): number {
  const text = readFileSync('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

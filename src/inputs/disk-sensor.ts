/** Used and free room of each local disk. */
import { readFile, statfs } from 'node:fs/promises';
import { pointPart, type Reading, type Sensor, uniquePart } from './sensor.js';

/** Where the mounts come from a program of the system, it is asked only so often. */
const MOUNTS_MAX_AGE_MS = 60_000;

interface Mount {
  path: string;
  part: string;
}

export class DiskSensor implements Sensor {
  #mounts: readonly Mount[] = [];
  #mountsReadMs = Number.NEGATIVE_INFINITY;

  async read(): Promise<Reading[]> {
    const nowMs = performance.now();
    if (process.platform === 'linux' || nowMs - this.#mountsReadMs > MOUNTS_MAX_AGE_MS) {
      this.#mounts = await readMounts();
      this.#mountsReadMs = nowMs;
    }
    const readings = await Promise.all(this.#mounts.map(readMount));
    return readings.flat();
  }
}

async function readMount({ path, part }: Mount): Promise<Reading[]> {
  const { blocks, bfree, bavail, bsize } = await statfs(path);
  if (blocks === 0) return [];
  return [
    { point: `disk/${part}/used`, value: (blocks - bfree) * bsize, unit: 'B' },
    { point: `disk/${part}/free`, value: bavail * bsize, unit: 'B' },
  ];
}

async function readMounts(): Promise<Mount[]> {
  const paths =
    process.platform === 'linux' ? parseMounts(await readFile('/proc/self/mounts', 'utf8')) : await askMounts();
  const used = new Set<string>();
  return paths.map((path) => ({ path, part: uniquePart(path === '/' ? 'root' : pointPart(path), used) }));
}

/**
 * The mount points of disks in the form of /proc/mounts, each disk once. Network shares are left out: asking one that
 * hangs never returns.
 */
export function parseMounts(text: string): string[] {
  const byDevice = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [device = '', escaped = '', type = ''] = line.split(' ');
    const path = escaped.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isDisk = device.startsWith('/dev/') && type !== 'squashfs' && type !== 'iso9660';
    if (!isDisk && type !== 'zfs' && !(type === 'overlay' && path === '/')) continue;
    // The same disk may be mounted in several places; the shortest path is where people look for it.
    const known = byDevice.get(device);
    if (known === undefined || path.length < known.length) byDevice.set(device, path);
  }
  return [...byDevice.values()];
}

async function askMounts(): Promise<string[]> {
  // Loaded only where it is needed: on Linux the system's own files tell everything at no cost.
  const { fsSize } = await import('systeminformation');
  return (await fsSize()).map(({ mount }) => mount);
}

/** Bytes per second in and out of each network interface. */
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import { pointPart, type Reading, round, type Sensor, uniquePart } from './sensor.js';

interface Counts {
  name: string;
  rxBytes: number;
  txBytes: number;
}

export class NetworkSensor implements Sensor {
  #before = new Map<string, Counts>();
  #beforeMs = 0;

  async read(): Promise<Reading[]> {
    const counts = await readCounts();
    const nowMs = performance.now();
    const before = this.#before;
    const seconds = (nowMs - this.#beforeMs) / 1000;
    this.#before = new Map(counts.map((one) => [one.name, one]));
    this.#beforeMs = nowMs;
    const used = new Set<string>();
    return counts.flatMap(({ name, rxBytes, txBytes }) => {
      const last = before.get(name);
      // A counter that goes back was reset; what passed meanwhile is not known.
      if (last === undefined || rxBytes < last.rxBytes || txBytes < last.txBytes) return [];
      const part = uniquePart(pointPart(name), used);
      return [
        { point: `network/${part}/rx`, value: round((rxBytes - last.rxBytes) / seconds, 0), unit: 'B/s' },
        { point: `network/${part}/tx`, value: round((txBytes - last.txBytes) / seconds, 0), unit: 'B/s' },
      ];
    });
  }
}

/** The interfaces that have an address of their own, without loopback. */
async function readCounts(): Promise<Counts[]> {
  const names = Object.entries(os.networkInterfaces())
    .filter(([, addresses]) => addresses?.some((address) => !address.internal) === true)
    .map(([name]) => name);
  if (names.length === 0) return [];
  if (process.platform !== 'linux') {
    // Loaded only where it is needed: on Linux the system's own file tells it at no cost.
    const { networkStats } = await import('systeminformation');
    const stats = await networkStats(names.join(','));
    return stats.map(({ iface, rx_bytes: rxBytes, tx_bytes: txBytes }) => ({ name: iface, rxBytes, txBytes }));
  }
  const all = parseCounts(await readFile('/proc/net/dev', 'utf8'));
  return all.filter(({ name }) => names.includes(name));
}

/** The form of /proc/net/dev: after the name, eight columns of what was received and eight of what was sent. */
export function parseCounts(text: string): Counts[] {
  return text.split('\n').flatMap((line) => {
    const [name, columns] = line.split(/:(.*)/s);
    if (name === undefined || columns === undefined) return [];
    const numbers = columns.trim().split(/\s+/).map(Number);
    const [rxBytes, txBytes] = [numbers[0], numbers[8]];
    return rxBytes === undefined || txBytes === undefined ? [] : [{ name: name.trim(), rxBytes, txBytes }];
  });
}

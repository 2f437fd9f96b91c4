/** What the runtime itself knows of the machine: processors, load, memory, uptime. */
import os from 'node:os';
import { type Reading, round, type Sensor } from './sensor.js';

interface CpuTimes {
  busyMs: number;
  allMs: number;
}

/** The share of time in which the processors did something, in all and for each, since the reading before. */
export class CpuSensor implements Sensor {
  #before: readonly CpuTimes[] = readCpuTimes();

  async read(): Promise<Reading[]> {
    const now = readCpuTimes();
    const before = this.#before;
    this.#before = now;
    const loads = now.map((times, index) => loadBetween(before[index], times));
    const total = loadBetween(sum(before), sum(now));
    const readings: Reading[] = [];
    if (total !== undefined) readings.push({ point: 'cpu/load', value: total, unit: '%' });
    for (const [index, value] of loads.entries()) {
      if (value !== undefined) readings.push({ point: `cpu/core/${index}/load`, value, unit: '%' });
    }
    return readings;
  }
}

function readCpuTimes(): CpuTimes[] {
  return os.cpus().map(({ times }) => {
    const busyMs = times.user + times.nice + times.sys + times.irq;
    return { busyMs, allMs: busyMs + times.idle };
  });
}

function sum(times: readonly CpuTimes[]): CpuTimes {
  return times.reduce((all, one) => ({ busyMs: all.busyMs + one.busyMs, allMs: all.allMs + one.allMs }), {
    busyMs: 0,
    allMs: 0,
  });
}

/** Undefined where no time has passed, or a counter went back because a processor was switched off and on. */
function loadBetween(before: CpuTimes | undefined, now: CpuTimes): number | undefined {
  if (before === undefined) return undefined;
  const allMs = now.allMs - before.allMs;
  const busyMs = now.busyMs - before.busyMs;
  return allMs <= 0 || busyMs < 0 || busyMs > allMs ? undefined : round((busyMs / allMs) * 100, 1);
}

/** How many processes run or wait to run, averaged. Windows does not count them. */
export class LoadSensor implements Sensor {
  async read(): Promise<Reading[]> {
    if (process.platform === 'win32') return [];
    const averages = os.loadavg();
    return [1, 5, 15].map((minutes, index) => ({
      point: `load/${minutes}min`,
      value: round(averages[index] ?? 0, 2),
      unit: '1',
    }));
  }
}

export class MemorySensor implements Sensor {
  async read(): Promise<Reading[]> {
    const totalBytes = os.totalmem();
    // What could be had without swapping; caches of the system count as available.
    const availableBytes = os.freemem();
    return [
      { point: 'memory/used', value: totalBytes - availableBytes, unit: 'B' },
      { point: 'memory/available', value: availableBytes, unit: 'B' },
    ];
  }
}

export class UptimeSensor implements Sensor {
  async read(): Promise<Reading[]> {
    return [{ point: 'uptime', value: Math.floor(os.uptime()), unit: 's' }];
  }
}

/** The temperatures that the machine's own chips report. Virtual machines usually have none. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../core/error.js';
import { pointPart, type Reading, round, type Sensor, uniquePart } from './sensor.js';

/** Where a program of the system has to be asked, it is asked only so often. */
const ASK_INTERVAL_MS = 10_000;

export class TemperatureSensor implements Sensor {
  readonly #root: string;
  #asked: readonly Reading[] = [];
  #askedMs = Number.NEGATIVE_INFINITY;

  /** `root` is where the kernel shows its devices. */
  constructor(root = '/sys/class') {
    this.#root = root;
  }

  async read(): Promise<Reading[]> {
    if (process.platform !== 'linux') return this.#ask();
    const readings = await this.#readChips();
    return readings.length > 0 ? readings : this.#readZones();
  }

  /** hwmon: each chip has a name, and inputs in thousandths of a degree, some with a label. */
  async #readChips(): Promise<Reading[]> {
    const folder = join(this.#root, 'hwmon');
    const used = new Set<string>();
    const readings: Reading[] = [];
    for (const chip of await list(folder)) {
      const chipName = (await readText(join(folder, chip, 'name'))) ?? chip;
      for (const file of await list(join(folder, chip))) {
        const input = /^(temp\d+)_input$/.exec(file)?.[1];
        if (input === undefined) continue;
        const label = (await readText(join(folder, chip, `${input}_label`))) ?? input;
        addReading(readings, used, `${chipName} ${label}`, await readText(join(folder, chip, file)));
      }
    }
    return readings;
  }

  /** Thermal zones: what small boards have instead. */
  async #readZones(): Promise<Reading[]> {
    const folder = join(this.#root, 'thermal');
    const used = new Set<string>();
    const readings: Reading[] = [];
    for (const zone of await list(folder)) {
      if (!zone.startsWith('thermal_zone')) continue;
      const type = (await readText(join(folder, zone, 'type'))) ?? zone;
      addReading(readings, used, type, await readText(join(folder, zone, 'temp')));
    }
    return readings;
  }

  async #ask(): Promise<Reading[]> {
    const nowMs = performance.now();
    if (nowMs - this.#askedMs >= ASK_INTERVAL_MS) {
      this.#askedMs = nowMs;
      const { cpuTemperature } = await import('systeminformation');
      const { main } = await cpuTemperature();
      this.#asked = main === null || main <= 0 ? [] : [{ point: 'temperature/cpu', value: main, unit: '°C' }];
    }
    return [...this.#asked];
  }
}

function addReading(readings: Reading[], used: Set<string>, name: string, text: string | undefined): void {
  const value = text === undefined || text === '' ? Number.NaN : Number(text) / 1000;
  // Chips without a probe report nonsense such as -273 or 255.
  if (!(value > -60 && value < 250)) return;
  readings.push({ point: `temperature/${uniquePart(pointPart(name), used)}`, value: round(value, 1), unit: '°C' });
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Undefined for what is not there, and for a probe that is not connected: its file cannot be read. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

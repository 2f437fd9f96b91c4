/**
 * This machine's own measurements as time values, at a fixed interval.
 *
 * One sample at a time: while a sample is being read or stored, the next ones are left out, so that a slow disk gets
 * fewer samples and not a growing heap of them. All values of a sample carry the same time.
 */
import type { HostSensor, HostSensorsConfig } from '../config/inputs.js';
import { formatDuration } from '../config/units.js';
import type { Clock } from '../core/clock.js';
import { errorText, NorthError } from '../core/error.js';
import type { Logger } from '../core/logger.js';
import { DiskSensor } from './disk-sensor.js';
import type { Delivery, Input, InputStatus } from './input.js';
import { NetworkSensor } from './network-sensor.js';
import { InputReport } from './report.js';
import type { Reading, Sensor } from './sensor.js';
import { CpuSensor, LoadSensor, MemorySensor, UptimeSensor } from './system-sensors.js';
import { TemperatureSensor } from './temperature-sensor.js';

/** The first sample comes soon also where the interval is long; rates need this time to mean anything. */
const FIRST_SAMPLE_MS = 500;
const SENSOR_TIMEOUT_MS = 5000;

export interface HostSensorsOptions {
  config: HostSensorsConfig;
  delivery: Delivery;
  clock: Clock;
  logger: Logger;
  /** For tests: how each group is read. */
  openSensor?: (name: HostSensor) => Sensor;
}

export class HostSensors implements Input {
  readonly id: string;
  readonly #config: HostSensorsConfig;
  readonly #delivery: Delivery;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #report: InputReport;
  readonly #openSensor: (name: HostSensor) => Sensor;
  /** Sensors that failed the last time. */
  readonly #failing = new Set<HostSensor>();
  /** Sensors that have been asked and have not answered yet. */
  readonly #asked = new Set<HostSensor>();
  #sensors: readonly (readonly [HostSensor, Sensor])[] = [];
  #cancelTick: (() => void) | undefined;
  #sampling: Promise<void> | undefined;

  constructor({ config, delivery, clock, logger, openSensor = openHostSensor }: HostSensorsOptions) {
    this.id = config.id;
    this.#config = config;
    this.#delivery = delivery;
    this.#clock = clock;
    this.#logger = logger;
    this.#openSensor = openSensor;
    this.#report = new InputReport(config.id, config.type, clock, logger);
  }

  start(): void {
    if (this.#cancelTick !== undefined) return;
    this.#sensors = this.#config.sensors.map((name) => [name, this.#openSensor(name)] as const);
    this.#showState();
    this.#scheduleTick(this.#clock.monotonicMs() + Math.min(FIRST_SAMPLE_MS, this.#config.interval));
  }

  async stop(): Promise<void> {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    await this.#sampling;
    this.#report.show('stopped', 'stopped');
  }

  status(): InputStatus {
    return this.#report.status();
  }

  /** Counts from when the tick was due, so that the interval does not stretch with each delay. */
  #scheduleTick(dueMs: number): void {
    this.#cancelTick = this.#clock.schedule(Math.max(0, dueMs - this.#clock.monotonicMs()), () => {
      // After a pause of the whole machine, one sample and not one for each that was missed.
      this.#scheduleTick(Math.max(dueMs + this.#config.interval, this.#clock.monotonicMs()));
      this.#sampling ??= this.#sample().finally(() => {
        this.#sampling = undefined;
      });
    });
  }

  async #sample(): Promise<void> {
    const timestamp = new Date(this.#clock.wallMs()).toISOString();
    const groups = await Promise.all(this.#sensors.map(([name, sensor]) => this.#readGroup(name, sensor)));
    const elements = groups.flat().map(({ point, value, unit }) => ({
      pointId: `${this.#config.prefix}/${point}`,
      timestamp,
      data: { value, unit, quality: 'good' },
    }));
    if (elements.length === 0) return;
    try {
      await this.#delivery.deliver({ type: 'time-values', elements }, this.id);
      this.#report.delivered();
      this.#showState();
    } catch (error) {
      this.#report.lost(error, 'A sample could not be stored.');
      this.#report.show('failing', errorText(error));
    }
  }

  /** A sensor that fails is left out of the sample; it is told once, and once when it answers again. */
  async #readGroup(name: HostSensor, sensor: Sensor): Promise<Reading[]> {
    try {
      const readings = await this.#readInTime(name, sensor);
      if (this.#failing.delete(name)) this.#logger.info({ input: this.id, sensor: name }, 'The sensor answers again.');
      return readings;
    } catch (error) {
      if (!this.#failing.has(name)) {
        const text = `The sensor ${name} cannot be read: ${errorText(error)}.`;
        this.#report.note(new NorthError('SENSOR_FAILED', text));
        this.#logger.warn({ input: this.id, sensor: name, err: error }, 'The sensor is left out of the samples.');
      }
      this.#failing.add(name);
      return [];
    }
  }

  /** A sensor whose disk or driver hangs is not asked again before it has answered: each question holds a thread. */
  #readInTime(name: HostSensor, sensor: Sensor): Promise<Reading[]> {
    if (this.#asked.has(name)) return Promise.reject(new Error('it has not answered yet'));
    this.#asked.add(name);
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.schedule(SENSOR_TIMEOUT_MS, () => {
        reject(new Error(`it does not answer within ${formatDuration(SENSOR_TIMEOUT_MS)}`));
      });
      sensor
        .read()
        .then(resolve, reject)
        .finally(() => {
          cancel();
          this.#asked.delete(name);
        });
    });
  }

  #showState(): void {
    const failing = [...this.#failing];
    const without = failing.length === 0 ? '' : `, without ${failing.join(', ')}, which cannot be read`;
    this.#report.show('running', `one sample every ${formatDuration(this.#config.interval)}${without}`);
  }
}

function openHostSensor(name: HostSensor): Sensor {
  switch (name) {
    case 'cpu':
      return new CpuSensor();
    case 'load':
      return new LoadSensor();
    case 'memory':
      return new MemorySensor();
    case 'disk':
      return new DiskSensor();
    case 'network':
      return new NetworkSensor();
    case 'temperature':
      return new TemperatureSensor();
    case 'uptime':
      return new UptimeSensor();
  }
}

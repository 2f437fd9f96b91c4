import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { HOST_SENSORS, hostSensorsSchema } from '../../src/config/inputs.js';
import { systemClock } from '../../src/core/clock.js';
import type { Content } from '../../src/core/content.js';
import { NorthError } from '../../src/core/error.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { parseMounts } from '../../src/inputs/disk-sensor.js';
import { HostSensors, type HostSensorsOptions } from '../../src/inputs/host-sensors.js';
import type { Delivery } from '../../src/inputs/input.js';
import { parseCounts } from '../../src/inputs/network-sensor.js';
import { pointPart, type Reading, type Sensor } from '../../src/inputs/sensor.js';
import { TemperatureSensor } from '../../src/inputs/temperature-sensor.js';
import { type LogLine, recordingLogger } from '../http/memory-service.js';
import { eventually, within } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

interface Value {
  pointId: string;
  timestamp: string;
  data: { value: number; unit: string; quality: string };
}

class Recorder implements Delivery {
  readonly samples: Value[][] = [];
  failure: unknown;
  gate: Promise<void> | undefined;
  calls = 0;

  async deliver(content: Content, source: string) {
    this.calls++;
    if (this.gate !== undefined) await this.gate;
    if (this.failure !== undefined) throw this.failure;
    assert.equal(source, 'sensors');
    assert.ok(content.type === 'time-values');
    this.samples.push(content.elements as Value[]);
    return { accepted: content.elements.length, rejected: [] };
  }

  deliverFile(): never {
    throw new Error('Sensors have no files.');
  }

  async fileProgress() {
    return [];
  }
}

function open(recorder: Recorder, options: Partial<HostSensorsOptions> & { settings?: object } = {}): HostSensors {
  const { settings, ...others } = options;
  const config = hostSensorsSchema.parse({ id: 'sensors', type: 'host-sensors', ...settings });
  return new HostSensors({ config, delivery: recorder, clock: systemClock(), logger: SILENT_LOGGER, ...others });
}

function constant(...readings: Reading[]): Sensor {
  return { read: async () => readings };
}

describe("this machine's sensors", () => {
  it('give values that make sense, all of a sample with one time', async () => {
    const recorder = new Recorder();
    const sensors = open(recorder, { settings: { interval: 100 } });
    sensors.start();
    await eventually(() => recorder.samples.length >= 3, 'three samples');
    await sensors.stop();
    const sample = recorder.samples.at(-1)!;
    const values = new Map(sample.map(({ pointId, data }) => [pointId, data]));
    assert.equal(new Set(sample.map(({ timestamp }) => timestamp)).size, 1);
    assert.ok(Math.abs(Date.parse(sample[0]!.timestamp) - Date.now()) < 60_000);
    assert.equal(values.size, sample.length, 'no point twice');
    const within = (point: string, unit: string, least: number, most: number) => {
      const data = values.get(point);
      assert.ok(data !== undefined, `${point} is among ${[...values.keys()].join(', ')}`);
      assert.equal(data.unit, unit);
      assert.equal(data.quality, 'good');
      assert.ok(data.value >= least && data.value <= most, `${point} is ${data.value}`);
    };
    within('host/cpu/load', '%', 0, 100);
    within('host/cpu/core/0/load', '%', 0, 100);
    within('host/memory/used', 'B', 1e6, 1e14);
    within('host/memory/available', 'B', 1e6, 1e14);
    within('host/uptime', 's', 1, 1e9);
    if (process.platform !== 'win32') within('host/load/1min', '1', 0, 10_000);
    assert.ok([...values.keys()].every((point) => !/[+#\0\s]/.test(point)));
    assert.equal(sensors.status().state, 'stopped');
    assert.equal(sensors.status().deliveredCount, recorder.samples.length);
  });

  it('are sampled at the interval, the first time soon', async () => {
    const clock = new ManualClock();
    const recorder = new Recorder();
    const openSensor = () => constant({ point: 'x', value: 1, unit: '1' });
    const sensors = open(recorder, {
      clock,
      openSensor,
      settings: { interval: '1 h', sensors: ['cpu'], prefix: 'plant' },
    });
    sensors.start();
    sensors.start();
    const from = clock.wallMs();
    clock.advance(500);
    await eventually(() => recorder.samples.length === 1, 'the first sample');
    clock.advance(3_600_000);
    await eventually(() => recorder.samples.length === 2, 'the second sample');
    const times = recorder.samples.map(([value]) => Date.parse(value!.timestamp) - from);
    assert.deepEqual(times, [500, 3_600_500]);
    assert.equal(recorder.samples[0]![0]!.pointId, 'plant/x');
    await sensors.stop();
    assert.equal(clock.waitsMs.length, 0);
  });

  it('are sampled one at a time, and not again for each time that was missed', async () => {
    const clock = new ManualClock();
    const recorder = new Recorder();
    let open_ = (): void => undefined;
    recorder.gate = new Promise((resolve) => {
      open_ = resolve;
    });
    const sensors = open(recorder, {
      clock,
      openSensor: () => constant({ point: 'x', value: 1, unit: '1' }),
      settings: { sensors: ['cpu'] },
    });
    sensors.start();
    clock.advance(500);
    await eventually(() => recorder.calls === 1, 'the first sample');
    for (let count = 0; count < 10; count++) {
      clock.advance(1000);
      // Time enough for a second sample to be read and handed over, were it begun.
      await turn();
    }
    assert.equal(recorder.calls, 1);
    recorder.gate = undefined;
    open_();
    await eventually(() => recorder.samples.length === 1, 'the first sample to be stored');
    await eventually(() => {
      clock.advance(1000);
      return recorder.samples.length >= 2;
    }, 'the next sample');
    assert.ok(recorder.samples.length <= 3);
    await sensors.stop();
  });

  it('that fail are left out, told once, and told again when they answer', async () => {
    const clock = new ManualClock();
    const recorder = new Recorder();
    const log: LogLine[] = [];
    let broken = true;
    const openSensor = (name: string): Sensor =>
      name === 'disk'
        ? {
            read: async () => {
              if (broken) throw new Error('no such device');
              return [{ point: 'disk', value: 2, unit: 'B' }];
            },
          }
        : constant({ point: name, value: 1, unit: '1' });
    const sensors = open(recorder, {
      clock,
      openSensor,
      logger: recordingLogger(log),
      settings: { sensors: ['cpu', 'disk'] },
    });
    sensors.start();
    clock.advance(500);
    for (let count = 1; count <= 3; count++) {
      await eventually(() => recorder.samples.length === count, `sample ${count}`);
      if (count < 3) clock.advance(1000);
    }
    assert.deepEqual(
      recorder.samples.at(-1)!.map(({ pointId }) => pointId),
      ['host/cpu'],
    );
    assert.deepEqual(
      log.map(({ level }) => level),
      ['warn'],
    );
    assert.match(sensors.status().description, /without disk/);
    assert.equal(sensors.status().lastError?.code, 'SENSOR_FAILED');
    assert.equal(sensors.status().state, 'running');
    broken = false;
    clock.advance(1000);
    await eventually(() => recorder.samples.at(-1)?.length === 2, 'the disk to be back');
    assert.deepEqual(
      log.map(({ level }) => level),
      ['warn', 'info'],
    );
    assert.doesNotMatch(sensors.status().description, /without/);
    await sensors.stop();
  });

  it('that hang hold up neither the others nor the end, and are not asked again meanwhile', async () => {
    const clock = new ManualClock();
    const recorder = new Recorder();
    let asked = 0;
    const openSensor = (name: string): Sensor =>
      name === 'disk'
        ? {
            read: () => {
              asked++;
              return new Promise(() => undefined);
            },
          }
        : constant({ point: name, value: 1, unit: '1' });
    const sensors = open(recorder, { clock, openSensor, settings: { sensors: ['cpu', 'disk'] } });
    sensors.start();
    await eventually(() => {
      clock.advance(1000);
      return recorder.samples.length >= 3;
    }, 'three samples of the others');
    assert.equal(asked, 1);
    await within(sensors.stop(), 'the sensors to stop');
  });

  it('show what cannot be stored as failing, and go on', async () => {
    const clock = new ManualClock();
    const recorder = new Recorder();
    const log: LogLine[] = [];
    recorder.failure = new NorthError('CACHE_FULL', 'The cache is full.');
    const openSensor = () => constant({ point: 'x', value: 1, unit: '1' });
    const sensors = open(recorder, { clock, openSensor, logger: recordingLogger(log), settings: { sensors: ['cpu'] } });
    sensors.start();
    clock.advance(500);
    for (let count = 1; count <= 3; count++) {
      await eventually(() => sensors.status().failedCount === count, `loss ${count}`);
      clock.advance(1000);
    }
    assert.equal(sensors.status().state, 'failing');
    assert.equal(log.length, 1, 'the log is not filled');
    recorder.failure = undefined;
    await eventually(() => {
      clock.advance(1000);
      return recorder.samples.length > 0 && sensors.status().state === 'running';
    }, 'the input to deliver again');
    await sensors.stop();
  });

  it('have a default for every group', () => {
    const config = hostSensorsSchema.parse({ id: 'sensors', type: 'host-sensors' });
    assert.deepEqual(config.sensors, [...HOST_SENSORS]);
    assert.equal(config.interval, 1000);
  });
});

describe('what the kernel tells', () => {
  it('of mounts gives each local disk once, and no share that could hang', () => {
    const mounts = [
      'proc /proc proc rw 0 0',
      '/dev/vda1 / ext4 rw 0 0',
      '/dev/vda1 /var/lib/docker ext4 rw 0 0',
      '/dev/sdb /media/USB\\040stick vfat rw 0 0',
      '/dev/loop3 /snap/core squashfs ro 0 0',
      'nas:/data /mnt/nas nfs4 rw 0 0',
      '//nas/share /mnt/cifs cifs rw 0 0',
      'tank/data /tank zfs rw 0 0',
      'tmpfs /tmp tmpfs rw 0 0',
      '',
    ];
    assert.deepEqual(parseMounts(mounts.join('\n')), ['/', '/media/USB stick', '/tank']);
    assert.deepEqual(parseMounts('overlay / overlay rw 0 0'), ['/']);
  });

  it('of the network gives the bytes of each interface', () => {
    const text = [
      'Inter-|   Receive                            |  Transmit',
      ' face |bytes    packets errs drop fifo frame compressed multicast|bytes packets',
      '    lo:    3193      29    0    0    0     0          0         0     3193      29    0',
      '  eth0:319351698    9030    0    0    0     0          0         0   703416    6053    0',
    ].join('\n');
    assert.deepEqual(parseCounts(text), [
      { name: 'lo', rxBytes: 3193, txBytes: 3193 },
      { name: 'eth0', rxBytes: 319_351_698, txBytes: 703_416 },
    ]);
  });

  it('of temperatures gives each probe that is connected', { skip: process.platform !== 'linux' }, async () => {
    const root = temporaryFolder('sys');
    const write = (path: string, text: string) => {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), `${text}\n`);
    };
    assert.deepEqual(await new TemperatureSensor(root).read(), []);
    write('thermal/thermal_zone0/type', 'cpu-thermal');
    write('thermal/thermal_zone0/temp', '48123');
    write('thermal/cooling_device0/type', 'fan');
    const zones = await new TemperatureSensor(root).read();
    assert.deepEqual(zones, [{ point: 'temperature/cpu-thermal', value: 48.1, unit: '°C' }]);
    write('hwmon/hwmon0/name', 'coretemp');
    write('hwmon/hwmon0/temp1_input', '51000');
    write('hwmon/hwmon0/temp1_label', 'Package id 0');
    write('hwmon/hwmon0/temp2_input', '-273150');
    write('hwmon/hwmon0/temp3_input', '');
    write('hwmon/hwmon1/name', 'coretemp');
    write('hwmon/hwmon1/temp1_input', '49500');
    write('hwmon/hwmon1/temp1_label', 'Package id 0');
    const chips = await new TemperatureSensor(root).read();
    assert.deepEqual(
      chips.map(({ point, value }) => `${point} ${value}`),
      ['temperature/coretemp-package-id-0 51', 'temperature/coretemp-package-id-0-2 49.5'],
    );
  });

  it('never gives a name that would mean something in a topic', () => {
    assert.equal(pointPart('/media/USB stick+#'), 'media-usb-stick');
    assert.equal(pointPart('C:\\'), 'c');
    assert.equal(pointPart('Größe'), 'größe');
    assert.equal(pointPart('+'), 'unnamed');
  });
});

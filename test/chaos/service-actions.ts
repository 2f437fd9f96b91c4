/** What is done to the service: killed at a moment that is sought, stopped, doubled, reconfigured, set to another time. */
import { setTimeout as delay } from 'node:timers/promises';
import { eventually, within } from '../kit/deadline.js';
import type { Random } from '../simulation/random.js';
import { Breach, type Plant } from './plant.js';

/** Gives in words what was done. */
export type Action = (plant: Plant, random: Random) => Promise<string>;

const MOMENT_TIMEOUT_MS = 500;
const SECOND_TIMEOUT_MS = 30_000;
const CONNECTOR_PATH = '/api/connectors/plant';
const RELOAD_TIMEOUT_MS = 30_000;
/** The library looks at the offset once a second. */
const CLOCK_TIMEOUT_MS = 10_000;
const CLOCK_TOLERANCE_MS = 2500;
/** Keys of idempotency are remembered for 24 hours of the wall clock: no two offsets are further apart than this. */
const CLOCK_BACK_MAX_SECONDS = 6 * 3600;

async function killAndStart(plant: Plant): Promise<void> {
  await plant.killService();
  await plant.startService();
}

function killedWithout(awaited: string): string {
  return `service killed; ${awaited} did not come within ${MOMENT_TIMEOUT_MS} ms`;
}

/** While a request is being stored. */
export const killInAppend: Action = async (plant, random) => {
  const waitMs = random.between(0, 12);
  const hasCome = await plant.crew.nextRequest(MOMENT_TIMEOUT_MS);
  await delay(waitMs);
  await killAndStart(plant);
  return hasCome ? `service killed ${waitMs} ms after a request was sent` : killedWithout('a request');
};

/** While it publishes, or writes PUBRELs. */
export const killInPublish: Action = async (plant, random) => {
  const sizeBytes = random.between(1, 8000);
  const hasCome = await plant.capture.after('toBroker', sizeBytes, MOMENT_TIMEOUT_MS);
  await killAndStart(plant);
  return hasCome ? `service killed when it had sent ${sizeBytes} bytes` : killedWithout(`${sizeBytes} bytes sent`);
};

/** While acknowledgements come in: PUBRECs are stored before their PUBRELs go out. */
export const killAtAcknowledgement: Action = async (plant, random) => {
  const sizeBytes = random.between(1, 400);
  const waitMs = random.between(0, 6);
  const hasCome = await plant.capture.after('toClient', sizeBytes, MOMENT_TIMEOUT_MS);
  await delay(waitMs);
  await killAndStart(plant);
  const awaited = `${sizeBytes} bytes of acknowledgements`;
  return hasCome ? `service killed ${waitMs} ms after ${awaited}` : killedWithout(awaited);
};

/** While what is settled is stored in groups, and goes to the archive. */
export const killInArchive: Action = async (plant, random) => {
  const waitMs = random.between(0, 150);
  const hasCome = await plant.capture.after('toClient', 4, MOMENT_TIMEOUT_MS);
  await delay(waitMs);
  await killAndStart(plant);
  return hasCome ? `service killed ${waitMs} ms after an acknowledgement` : killedWithout('an acknowledgement');
};

/** Before it has come up, several times in a row. */
export const killAtStart: Action = async (plant, random) => {
  const waitsMs = Array.from({ length: random.between(1, 3) }, () => random.between(0, 900));
  await plant.killService();
  for (const waitMs of waitsMs) {
    plant.service.launch();
    await delay(waitMs);
    // On a full disk it may have given up by itself.
    if (plant.service.isRunning || !plant.disk.isFull) await plant.killService();
  }
  await plant.startService();
  return `service killed ${waitsMs.join(', ')} ms after its start`;
};

export const stopService: Action = async (plant) => {
  await plant.service.stop();
  plant.note('service stopped');
  await plant.startService();
  return 'service stopped and started';
};

/** It is refused with the reason, and the first goes on. */
export const startSecondService: Action = async (plant) => {
  const { pid } = plant.service;
  const second = plant.service.startAnother();
  try {
    const end = await within(second.ended, () => `the second service to give up: ${second.output}`, SECOND_TIMEOUT_MS);
    if (end.code !== 1 || !second.stderr.includes('CACHE_LOCKED') || !second.stderr.includes(String(pid))) {
      throw new Breach(`A second service ended with ${JSON.stringify(end)}: ${second.output}`);
    }
  } finally {
    await second.kill();
  }
  plant.service.assertAlive();
  const holder = plant.lockHolderPid();
  if (holder !== pid) throw new Breach(`The data directory of ${pid} is now held by ${holder}.`);
  return 'second service refused';
};

/** Two changes by the API, each of which closes the connector and opens it anew with what is queued. */
export const reloadConfiguration: Action = async (plant, random) => {
  const seconds = [random.between(20, 40), random.between(41, 60)];
  for (const keepalive of seconds) {
    const config = await readConfig(plant);
    config.settings.keepalive = keepalive;
    const changed = await plant.service.request('PUT', CONNECTOR_PATH, config, RELOAD_TIMEOUT_MS);
    const text = await changed.text();
    if (changed.status !== 200)
      throw new Breach(`A change of the configuration was answered ${changed.status} ${text}`);
    const seen = (await readConfig(plant)).settings.keepalive;
    if (seen !== keepalive) throw new Breach(`The keepalive is ${seen} after it was set to ${keepalive}.`);
    plant.note(`configuration reloaded with keepalive ${keepalive}`);
  }
  return `configuration reloaded twice, keepalive ${seconds.join(' and ')} s`;
};

async function readConfig({ service }: Plant): Promise<{ settings: Record<string, unknown> }> {
  const answer = await service.request('GET', CONNECTOR_PATH);
  return ((await answer.json()) as { config: { settings: Record<string, unknown> } }).config;
}

/** Under the running service where it has the library already, and at its next start otherwise; at last forward again. */
export const setClockBack: Action = async (plant, random) => {
  const { clock, service } = plant;
  const backSeconds = random.between(60, 2 * 3600);
  const isRestart = random.chance(0.5);
  const isAhead = clock.offsetSeconds - backSeconds < -CLOCK_BACK_MAX_SECONDS;
  clock.set(isAhead ? 0 : clock.offsetSeconds - backSeconds);
  const isPreloaded = 'LD_PRELOAD' in service.environment;
  service.environment = clock.environment();
  if (isRestart || !isPreloaded) await killAndStart(plant);
  plant.note(`clock at ${clock.offsetSeconds} s`);
  await eventually(
    async () => {
      const offMs = (await service.clockMs()) - (Date.now() + clock.offsetSeconds * 1000);
      if (Math.abs(offMs) <= CLOCK_TOLERANCE_MS) return true;
      throw new Error(`it is ${offMs} ms off`);
    },
    `the clock of the service at ${clock.offsetSeconds} s`,
    CLOCK_TIMEOUT_MS,
  );
  const how = isRestart || !isPreloaded ? 'at a start' : 'while it runs';
  return isAhead ? `clock set forward to the true time ${how}` : `clock set back ${backSeconds} s ${how}`;
};

/** SIGTERM in each state of a connection: the real process ends in time with code 0, and the next one continues. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { isPublish } from '../connector/wire.js';
import { startBlackhole } from '../kit/blackhole.js';
import { eventually, within } from '../kit/deadline.js';
import { freePort } from '../kit/ports.js';
import { type ScriptedBroker, type ScriptedBrokerOptions, startScriptedBroker } from '../kit/scripted-broker.js';
import { type ServiceFolder, type ServiceProcess, serviceFolder } from './service-process.js';

const PATH = '/api/content?connector=plant&type=messages';
/** What the service takes for its stop, and as much again for a machine that is busy. */
const STOP_DEADLINE_MS = 20_000;
const COUNT = 50;
const TEXTS = Array.from({ length: COUNT }, (_, index) => `${index}`);

/** A broker with a memory for QoS 2 that outlives its connections, and that can be made to hold back its answers. */
interface HoldingBroker {
  readonly broker: ScriptedBroker;
  /** What it has delivered, each time that it did. */
  readonly delivered: readonly string[];
  /** Acknowledges from now on, on new connections. */
  release(): void;
}

async function startHoldingBroker(
  t: TestContext,
  port: number,
  hold: Partial<ScriptedBrokerOptions> = {},
  properties: { receiveMaximum?: number } = {},
): Promise<HoldingBroker> {
  const delivered: string[] = [];
  const held = new Set<number>();
  let hasSession = false;
  const connack: ScriptedBrokerOptions['connack'] = ({ clean }) => {
    const sessionPresent = hasSession && clean !== true;
    if (!sessionPresent) held.clear();
    hasSession = true;
    return { sessionPresent, properties };
  };
  const onPacket: ScriptedBrokerOptions['onPacket'] = (packet, peer) => {
    const id = packet.messageId ?? 0;
    if (isPublish(packet)) {
      if (!held.has(id)) delivered.push(packet.payload.toString());
      held.add(id);
    } else if (packet.cmd === 'pubrel') held.delete(id);
    return hold.onPacket === undefined ? 'default' : hold.onPacket(packet, peer);
  };
  const broker = await startScriptedBroker({
    port,
    connack,
    onPacket,
    ...('connack' in hold ? { connack: null } : {}),
  });
  t.after(() => broker.close());
  const release = (): void => {
    hold = {};
    properties = {};
    broker.options = { port, connack, onPacket };
  };
  return { broker, delivered, release };
}

interface Scene {
  service: ServiceProcess;
  folder: ServiceFolder;
}

async function startPlant(t: TestContext, port: number, reconnectPeriod = 200): Promise<Scene> {
  const settings = { url: `mqtt://127.0.0.1:${port}`, qos: 2, reconnectPeriod, protocolVersion: '5' };
  const folder = serviceFolder({ connectors: [{ id: 'plant', settings }] });
  const scene: Scene = { folder, service: await folder.start() };
  t.after(() => scene.service.kill());
  const elements = TEXTS.map((payload) => ({ topic: 't', payload }));
  assert.equal((await scene.service.post(PATH, elements)).status, 202);
  return scene;
}

function untilState(service: ServiceProcess, wanted: string): Promise<unknown> {
  return service.until('plant', ({ state }) => state === wanted, `the state ${wanted}`, 20_000);
}

async function stopInTime({ service }: Scene): Promise<void> {
  const end = await within(service.stop(), () => `the end. Its output: ${service.process.output}`, STOP_DEADLINE_MS);
  assert.deepEqual(end, { code: 0, signal: null }, service.process.output);
}

/** The next process brings all that was accepted, each once and in order, however far the one before had come. */
async function assertContinues(scene: Scene, delivered: readonly string[]): Promise<void> {
  scene.service = await scene.folder.start();
  const isDone = ({ telemetry }: { telemetry: number }): boolean => telemetry === 0;
  await scene.service.until('plant', ({ cache }) => isDone(cache.waitingCounts), 'an empty cache', 20_000);
  assert.deepEqual(delivered, TEXTS);
  await stopInTime(scene);
}

function isHeldBack(cmd: string): NonNullable<ScriptedBrokerOptions['onPacket']> {
  return (packet) => (packet.cmd === cmd ? undefined : 'default');
}

/** Of telemetry at QoS 2 with a Receive Maximum of 20: some places are left for a new process, and for higher lanes. */
const WINDOW = 14;

describe('SIGTERM, then a restart', { concurrency: true }, () => {
  test('while it dials an address that does not answer', async (t) => {
    const blackhole = await startBlackhole();
    t.after(() => blackhole.close());
    const scene = await startPlant(t, blackhole.port);
    await untilState(scene.service, 'dialing');
    await stopInTime(scene);
    await blackhole.close();
    const { delivered } = await startHoldingBroker(t, blackhole.port);
    await assertContinues(scene, delivered);
  });

  test('while it waits for the answer to CONNECT', async (t) => {
    const port = await freePort();
    const { broker, delivered, release } = await startHoldingBroker(t, port, { connack: null });
    const scene = await startPlant(t, port);
    await untilState(scene.service, 'handshaking');
    await stopInTime(scene);
    assert.deepEqual(
      broker.packets.map(({ cmd }) => cmd),
      ['connect', 'disconnect'],
    );
    release();
    await assertContinues(scene, delivered);
  });

  test('while it waits for the next attempt', async (t) => {
    const port = await freePort();
    const scene = await startPlant(t, port, 300_000);
    await untilState(scene.service, 'waiting');
    await stopInTime(scene);
    const { delivered } = await startHoldingBroker(t, port);
    await assertContinues(scene, delivered);
  });

  for (const cmd of ['publish', 'pubrel']) {
    test(`while it is online with a full window, no ${cmd} of which is answered`, async (t) => {
      const port = await freePort();
      const hold = { onPacket: isHeldBack(cmd) };
      const { broker, delivered, release } = await startHoldingBroker(t, port, hold, { receiveMaximum: 20 });
      const scene = await startPlant(t, port);
      await eventually(() => broker.packets.filter((packet) => packet.cmd === cmd).length >= WINDOW, 'a full window');
      await untilState(scene.service, 'online');
      await stopInTime(scene);
      assert.equal(broker.packets.at(-1)?.cmd, 'disconnect', 'it says goodbye all the same');
      release();
      await assertContinues(scene, delivered);
    });
  }

  test('while it is recovering what may have been sent before', async (t) => {
    const port = await freePort();
    const hold = { onPacket: isHeldBack('publish') };
    const properties = { receiveMaximum: 20 };
    const { broker, delivered, release } = await startHoldingBroker(t, port, hold, properties);
    const scene = await startPlant(t, port);
    await eventually(() => broker.packets.filter(isPublish).length >= WINDOW, 'a full window');
    await scene.service.kill();
    // The next connection has room for fewer than are in doubt, so that the recovery cannot end.
    properties.receiveMaximum = 3;
    scene.service = await scene.folder.start();
    await untilState(scene.service, 'recovering');
    await stopInTime(scene);
    release();
    await assertContinues(scene, delivered);
  });

  test('while it is draining because an operator has stopped the connector', async (t) => {
    const port = await freePort();
    const hold = { onPacket: isHeldBack('publish') };
    const { broker, delivered, release } = await startHoldingBroker(t, port, hold, { receiveMaximum: 20 });
    const scene = await startPlant(t, port);
    await eventually(() => broker.packets.filter(isPublish).length >= WINDOW, 'a full window');
    // It is answered when it has drained, which the end of the process cuts off.
    const stopped = scene.service.post('/api/connectors/plant/stop', {}).catch(() => undefined);
    await untilState(scene.service, 'draining');
    await stopInTime(scene);
    await stopped;
    release();
    await assertContinues(scene, delivered);
  });

  test('twice, and SIGINT after SIGTERM, while nothing is answered', async (t) => {
    const port = await freePort();
    const hold = { onPacket: isHeldBack('publish') };
    const { broker, delivered, release } = await startHoldingBroker(t, port, hold);
    const scene = await startPlant(t, port);
    await eventually(() => broker.packets.filter(isPublish).length >= WINDOW, 'a full window');
    const ends = [scene.service.stop(), scene.service.stop(), scene.service.process.kill('SIGINT')];
    const [end] = await within(Promise.all(ends), 'the end', STOP_DEADLINE_MS);
    assert.equal(end?.signal, null, 'it ends by itself');
    release();
    await assertContinues(scene, delivered);
  });
});

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Content, type LibraryConnector, NorthError, openConnector } from '../../src/index.js';
import { eventually, within } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { startScript } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

type Input = Parameters<typeof openConnector>[0];

async function open(
  t: TestContext,
  config: Partial<Input> & Pick<Input, 'settings'>,
  dataDir = temporaryFolder('data'),
) {
  const connector = await openConnector({ id: 'plant-a', ...config }, { dataDir });
  t.after(() => connector.stop(1000));
  return connector;
}

async function untilEmpty(connector: LibraryConnector): Promise<void> {
  await eventually(async () => {
    const { cache, inflight, description } = await connector.status();
    return (cache.waitingCounts.telemetry === 0 && inflight === 0) || assert.fail(description);
  }, 'everything to be delivered');
}

test('values go through the library to a subscriber, with a receipt, and a stop leaves nothing open', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const subscriber = await openSubscriber({ url: broker.url });
  t.after(() => subscriber.close());
  const dataDir = temporaryFolder('data');
  const connector = await open(
    t,
    {
      settings: { url: broker.url, qos: 2 },
      transformers: [
        { from: '*', type: 'time-values-to-mqtt', topic: 'plant/{pointId}' },
        { from: '*', type: 'setpoints-to-mqtt', mapping: [{ reference: 'pump', topic: 'cmd/pump' }] },
      ],
    },
    dataDir,
  );
  const states: string[] = [];
  const end = connector.on('state', ({ id, state }) => states.push(`${id} ${state}`));
  const elements = [
    { pointId: 'boiler/t1', timestamp: '2026-01-15T10:00:00.000Z', data: { value: 23.5 } },
    { timestamp: '2026-01-15T10:00:00.000Z', data: { value: 1 } },
  ];
  const receipt = await connector.accept({ type: 'time-values', elements });
  assert.equal(receipt.accepted, 1);
  assert.deepEqual(
    receipt.rejected.map(({ index, code }) => [index, code]),
    [[1, 'ELEMENT_INVALID']],
  );
  await connector.accept({ type: 'setpoints', elements: [{ reference: 'pump', value: 1200 }] });
  await connector.accept({ type: 'messages', elements: [{ topic: 'own', payload: { a: 1 } }] });
  await subscriber.waitFor(3);
  await untilEmpty(connector);
  const received = Object.fromEntries(subscriber.messages.map(({ topic, text }) => [topic, text]));
  assert.deepEqual(JSON.parse(received['plant/boiler/t1'] ?? ''), {
    value: 23.5,
    timestamp: '2026-01-15T10:00:00.000Z',
  });
  assert.equal(received['cmd/pump'], '1200');
  assert.deepEqual(JSON.parse(received.own ?? ''), { a: 1 });
  assert.equal(connector.takes('setpoints', 'library'), true);
  assert.equal(connector.takes('csv', 'library'), false);
  assert.ok(states.includes('plant-a online'), states.join());
  end();
  const { length } = states;
  await within(connector.stop(), 'the connector to stop');
  await within(connector.close(), 'a second stop');
  assert.equal(states.length, length, 'a listener that was ended hears nothing');
  assert.equal(existsSync(join(dataDir, 'lock.json')), false);
  await assert.rejects(connector.accept({ type: 'messages', elements: [{ topic: 'x', payload: '' }] }), {
    code: 'SERVICE_STOPPING',
  });
});

test('content for which there is no transformer, or in which nothing is valid, is refused as a whole', async (t) => {
  const connector = await open(t, { settings: { url: `mqtt://127.0.0.1:${await freePort()}` } });
  const value = { pointId: 'p', timestamp: '2026-01-15T10:00:00.000Z', data: { value: 1 } };
  await assert.rejects(connector.accept({ type: 'time-values', elements: [value] }), { code: 'TRANSFORMER_MISSING' });
  await assert.rejects(connector.accept({ type: 'messages', elements: [{ payload: 'no topic' }, 7] }), (error) => {
    assert.ok(error instanceof NorthError && error.code === 'CONTENT_EMPTY', `${error}`);
    assert.match(error.message, /2 elements/);
    return true;
  });
  const { accepted, receipt } = await connector.accept({ type: 'messages', elements: [] });
  assert.equal(accepted, 0);
  assert.notEqual(receipt, '');
  assert.equal((await connector.status()).cache.waitingCounts.telemetry, 0);
});

test('what is no content at all is refused as malformed', async (t) => {
  const connector = await open(t, { settings: { url: `mqtt://127.0.0.1:${await freePort()}` } });
  for (const content of [undefined, null, 'text', {}, { type: 'messages' }, { type: 'messages', elements: 'abc' }]) {
    // What a program without types may hand in.
    await assert.rejects(connector.accept(content as Content), { code: 'CONTENT_MALFORMED' }, JSON.stringify(content));
  }
});

test('an empty data directory is refused, and not taken for the folder where the program runs', async () => {
  const config = { id: 'plant-a', settings: { url: 'mqtt://localhost' } };
  await assert.rejects(openConnector(config, { dataDir: '' }), { code: 'CONFIG_INVALID', message: /dataDir/ });
});

test('a wrong configuration is refused with the place and a remedy, and no directory is made', async () => {
  const dataDir = join(temporaryFolder('data'), 'inner');
  const wrong = { id: 'plant-a', settings: { url: 'mqtt://localhost', qoss: 1 } } as unknown as Input;
  await assert.rejects(openConnector(wrong, { dataDir }), (error) => {
    assert.ok(error instanceof NorthError && error.code === 'CONFIG_INVALID', `${error}`);
    assert.match(`${error.message} ${error.place} ${error.remedy}`, /qoss.*qos/);
    return true;
  });
  assert.equal(existsSync(dataDir), false);
});

test('a disabled connector neither connects nor accepts', async (t) => {
  const connector = await open(t, { enabled: false, settings: { url: `mqtt://127.0.0.1:${await freePort()}` } });
  const status = await connector.status();
  assert.equal(status.state, 'stopped');
  assert.equal(status.description, 'disabled');
  const elements = [{ topic: 'x', payload: '' }];
  await assert.rejects(connector.accept({ type: 'messages', elements }), { code: 'CONNECTOR_DISABLED' });
});

test('a second connector on the same data directory is refused with the pid that holds it, in and across processes', async (t) => {
  const settings = { url: `mqtt://127.0.0.1:${await freePort()}` };
  const dataDir = temporaryFolder('data');
  const first = await open(t, { settings }, dataDir);
  await assert.rejects(openConnector({ id: 'plant-b', settings }, { dataDir }), (error) => {
    assert.ok(error instanceof NorthError && error.code === 'CACHE_LOCKED', `${error}`);
    assert.ok(error.message.includes(`${process.pid}`), error.message);
    return true;
  });
  const other = startScript('test/connector/producer-process.js', [JSON.stringify(settings), dataDir, '1', '1']);
  await other.ended;
  assert.match(other.output, /CACHE_LOCKED/);
  assert.ok(other.output.includes(`the process ${process.pid}`), other.output);
  await first.stop();
  const next = startScript('test/connector/producer-process.js', [JSON.stringify(settings), dataDir, '1', '1']);
  await next.waitForOutput('from 0');
  await assert.rejects(openConnector({ id: 'plant-b', settings }, { dataDir }), new RegExp(`the process ${next.pid}`));
  // A process that was killed leaves no lock behind.
  await next.kill('SIGKILL');
  await open(t, { settings }, dataDir);
});

test('the directory is free again when the cache could not be opened', async (t) => {
  const dataDir = temporaryFolder('data');
  const settings = { url: `mqtt://127.0.0.1:${await freePort()}` };
  const jsonata = { from: '*', type: 'json-to-mqtt', topic: { jsonata: '((' }, payload: { jsonata: 'x' } };
  const broken = { id: 'plant-a', settings, transformers: [jsonata] } as unknown as Input;
  await assert.rejects(openConnector(broken, { dataDir }), { code: 'CONFIG_INVALID' });
  await open(t, { settings }, dataDir);
});

test('a program that has stopped its connector comes to its end', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const args = [JSON.stringify({ url: broker.url }), temporaryFolder('data'), '10', '10'];
  const producer = startScript('test/connector/producer-process.js', args);
  assert.deepEqual(await within(producer.ended, 'the process to end', 20_000), { code: 0, signal: null });
  assert.match(producer.stdout, /done .*"published":10/);
});

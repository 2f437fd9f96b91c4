import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

test('without a configuration, sensors of this machine reach a subscriber of the embedded broker', async (t) => {
  const run = startCli(['run'], { cwd: temporaryFolder('quick-start') });
  t.after(() => run.kill());
  const [, brokerUrl = ''] = await run.waitForOutput(/broker +(mqtt:\S+)/, 30_000);
  const [, consoleUrl = ''] = await run.waitForOutput(/console +(http:\S+)/);
  await run.waitForOutput(/host\/memory\/used {2}\{"value":\d+/, 30_000);

  const subscriber = await openSubscriber({ url: brokerUrl, topics: 'host/#', protocolVersion: 4 });
  t.after(() => subscriber.close());
  const messages = await subscriber.waitFor((all) => all.some(({ topic }) => topic === 'host/memory/used'), 30_000);
  const memory = messages.find(({ topic }) => topic === 'host/memory/used');
  const { value, unit } = JSON.parse(memory?.text ?? '{}') as { value: number; unit: string };
  assert.ok(value > 1024 ** 2, `${value} bytes are no use of memory`);
  assert.equal(unit, 'B');

  assert.equal(await (await fetch(`${consoleUrl}/healthz`)).text(), 'ok');
  const page = await (await fetch(consoleUrl)).text();
  assert.match(page, /<html/i);

  const end = await run.kill('SIGTERM');
  assert.deepEqual(end, { code: 0, signal: null });
});

test('a second quick start takes the next free ports and says so', async (t) => {
  const first = startCli(['run'], { cwd: temporaryFolder('quick-start') });
  t.after(() => first.kill());
  const [, firstBroker = ''] = await first.waitForOutput(/broker +(mqtt:\S+)/, 30_000);
  const [, firstConsole = ''] = await first.waitForOutput(/console +(http:\S+)/);
  const second = startCli(['run'], { cwd: temporaryFolder('quick-start') });
  t.after(() => second.kill());
  const [, secondBroker = ''] = await second.waitForOutput(/broker +(mqtt:\S+) +\(1883 is taken\)/, 30_000);
  const [, secondConsole = ''] = await second.waitForOutput(/console +(http:\S+) +\(8080 is taken\)/);
  assert.notEqual(secondBroker, firstBroker);
  assert.notEqual(secondConsole, firstConsole);
  await eventually(() => second.output.includes('host/'), 'a message in the second one', 30_000);
});

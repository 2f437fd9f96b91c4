import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { startMosquitto } from '../kit/mosquitto.js';
import { type CliResult, runCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { type ServiceFolder, serviceFolder } from '../service/service-process.js';

const PATH = '/api/content?connector=plant&type=messages';

function cacheOf(folder: ServiceFolder): (...args: string[]) => Promise<CliResult> {
  return (command, ...args) =>
    runCli(['cache', command ?? '', ...args, '-c', folder.configFile], { cwd: folder.folder });
}

interface Listed {
  messages: { id: number; topic: string; code: string; payloadText: string }[];
}

describe('cache', () => {
  for (const isRunning of [true, false]) {
    const where = isRunning ? 'beside a running service with tokens' : 'on the files of a stopped one';
    test(`lists, shows, retries with a new topic, exports and removes ${where}`, async (t) => {
      const broker = await startMosquitto({ acl: 'topic readwrite allowed/#' });
      t.after(() => broker.kill());
      const subscriber = await openSubscriber({ url: broker.url });
      t.after(() => subscriber.close());
      const token = 'a-token-that-is-long-enough';
      const folder = serviceFolder({
        server: { port: 0, tokens: [{ name: 'press', secret: token, role: 'producer' }] },
        connectors: [{ id: 'plant', settings: { url: broker.url, reconnectPeriod: 200 } }],
      });
      const cache = cacheOf(folder);
      let service = await folder.start();
      t.after(() => service.kill());
      const elements = [
        { topic: 'forbidden/a', payload: 'first' },
        { topic: 'allowed/b', payload: 'second' },
        { topic: 'forbidden/c', payload: 'third\u001b[2J' },
      ];
      const answer = await service.post(PATH, elements, { authorization: `Bearer ${token}` });
      assert.equal(answer.status, 202);
      await subscriber.waitFor(1);
      const listed = async (): Promise<Listed> => JSON.parse((await cache('list', '--json')).stdout) as Listed;
      const deadlineMs = performance.now() + 10_000;
      while ((await listed()).messages.length < 2) assert.ok(performance.now() < deadlineMs, 'two in quarantine');
      if (!isRunning) assert.equal((await service.stop()).code, 0);

      const { messages } = await listed();
      assert.deepEqual(
        messages.map(({ topic, code }) => [topic, code]),
        [
          ['forbidden/a', 'PUBLISH_NOT_AUTHORIZED'],
          ['forbidden/c', 'PUBLISH_NOT_AUTHORIZED'],
        ],
      );
      const text = await cache('list');
      assert.match(text.stdout, /forbidden\/a {2}first {2}PUBLISH_NOT_AUTHORIZED/);
      assert.ok(!text.stdout.includes('\u001b'), 'control characters of a payload never reach the terminal');
      const shown = await cache('show', String(messages[0]?.id));
      assert.match(shown.stdout, /reason +The broker answered 0x87/);

      const file = join(folder.folder, 'export.ndjson');
      const exported = await cache('export', '-o', file);
      assert.equal(exported.code, 0, exported.stderr);
      assert.deepEqual(
        readFileSync(file, 'utf8')
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { topic: string }).topic),
        ['forbidden/a', 'forbidden/c'],
      );
      assert.equal((await cache('export', '-o', file)).code, 2, 'an export does not overwrite a file');

      const retried = await cache('retry', '--id', String(messages[0]?.id), '--topic', 'allowed/a');
      assert.equal(retried.stdout.trim(), '1 wait to be sent again.');
      assert.equal((await cache('remove', '--id', String(messages[1]?.id))).stdout.trim(), '1 removed.');
      if (!isRunning) service = await folder.start();
      await subscriber.waitFor(2);
      assert.deepEqual(
        subscriber.messages.map(({ topic, text: payload }) => [topic, payload]),
        [
          ['allowed/b', 'second'],
          ['allowed/a', 'first'],
        ],
      );
      assert.deepEqual((await listed()).messages, []);
    });
  }

  test('wrong input is told with a remedy', async () => {
    const folder = serviceFolder({
      connectors: [
        { id: 'one', settings: { url: 'mqtt://127.0.0.1' } },
        { id: 'two', settings: { url: 'mqtt://127.0.0.1' } },
      ],
    });
    const cache = cacheOf(folder);
    const expectations: readonly (readonly [args: readonly string[], code: number, text: RegExp])[] = [
      [['list'], 2, /Name the connector[\s\S]*one, two/],
      [['list', 'three'], 2, /There is no connector "three"/],
      [['list', 'one', '--state', 'lost'], 2, /waiting, quarantined, archived/],
      [['retry', 'one'], 2, /exactly one of --id, --code and --all/],
      [['retry', 'one', '--id', '1', '--all'], 2, /exactly one of --id, --code and --all/],
      [['show', '7', 'one'], 1, /no quarantined message 7/],
      [['remove', 'one', '--id', '0'], 2, /whole number above 0/],
    ];
    for (const [args, code, text] of expectations) {
      const result = await cache(...args);
      assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
      assert.match(result.stderr, text);
    }
    writeFileSync(folder.configFile, 'connectors: 7\n');
    assert.equal((await cache('list', 'one')).code, 2);
  });
});

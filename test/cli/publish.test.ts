import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { runCli, startCli } from '../kit/process.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

function lines(count: number): string {
  return Array.from({ length: count }, (_unused, index) => `line ${index}\n`).join('');
}

describe('publish', () => {
  test('a text, a file, an empty message and lines arrive as they are', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const folder = temporaryFolder('publish');
    const env = { XDG_STATE_HOME: folder };
    const file = join(folder, 'payload.bin');
    writeFileSync(file, Buffer.from([0, 255, 10, 13, 128]));

    const publish = (...args: string[]) => runCli(['publish', '--url', broker.url, '-t', 'a/b', ...args], { env });
    assert.equal((await publish('-m', 'hello', '-q', '2', '-r')).code, 0);
    assert.equal((await publish('-f', file)).code, 0);
    assert.equal((await publish('-n')).code, 0);
    const piped = await runCli(['publish', '--url', broker.url, '-t', 'a/b', '-l'], {
      env,
      input: 'one\r\ntwo\n\nfour',
    });
    assert.equal(piped.code, 0, piped.stderr);

    const messages = await subscriber.waitFor(7);
    assert.deepEqual(
      messages.map(({ payload }) => payload.toString('latin1')),
      ['hello', '\u0000\u00ff\n\r\u0080', '', 'one', 'two', '', 'four'],
    );
    assert.deepEqual(
      messages.slice(0, 2).map(({ qos }) => qos),
      [2, 1],
    );
  });

  test('killed again and again, a run of the same input goes on: each line once, in order', async (t) => {
    const broker = await startMosquitto({ persistence: true, extra: ['max_queued_messages 0'] });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url, topics: 'lines', persistentClientId: 'reader' });
    t.after(() => subscriber.close());
    const env = { XDG_STATE_HOME: temporaryFolder('publish') };
    const COUNT = 30_000;
    const input = lines(COUNT);
    const args = ['publish', '--url', broker.url, '-t', 'lines', '-l', '-q', '2'];
    for (const enough of [1, 3000, 9000, 20_000]) {
      const run = startCli(args, { env, input });
      await eventually(
        () => subscriber.messages.length >= enough || run.end !== undefined,
        () => `${enough} lines at the subscriber, which has ${subscriber.messages.length}: ${run.output}`,
        60_000,
      );
      await run.kill();
    }
    const last = await runCli(args, { env, input, timeoutMs: 60_000 });
    assert.equal(last.code, 0, last.stderr);
    await subscriber.waitFor(COUNT, 30_000);
    assert.equal(
      subscriber
        .texts()
        .map((text) => `${text}\n`)
        .join(''),
      input,
    );

    const other = await runCli(args, { env, input: 'line 0\nother\n' });
    assert.equal(other.code, 0, other.stderr);
    await subscriber.waitFor(COUNT + 2);
    assert.deepEqual(subscriber.texts().slice(COUNT), ['line 0', 'other']);
  });

  test('what a broker that is away did not take is kept, and goes out once with the next run', async (t) => {
    const port = await freePort();
    const env = { XDG_STATE_HOME: temporaryFolder('publish') };
    const args = ['publish', '--url', `mqtt://127.0.0.1:${port}`, '-t', 'a', '-m', 'kept', '--json', '--wait', '1 s'];
    const away = await runCli(args, { env });
    assert.equal(away.code, 1);
    assert.deepEqual(JSON.parse(away.stdout), { accepted: 1, skipped: 0, acknowledged: 0, waiting: 1, quarantined: 0 });
    assert.match(away.stderr, /BROKER_REFUSED/);

    const broker = await startMosquitto({ port });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const back = await runCli(args, { env });
    assert.equal(back.code, 0, back.stderr);
    assert.deepEqual(JSON.parse(back.stdout), { accepted: 0, skipped: 1, acknowledged: 1, waiting: 0, quarantined: 0 });
    const next = await runCli(['publish', '--url', broker.url, '-t', 'a', '-m', 'next'], { env });
    assert.equal(next.code, 0, next.stderr);
    await subscriber.waitFor(2);
    assert.deepEqual(subscriber.texts(), ['kept', 'next']);
  });

  test('runs at the same time to the same broker do not disturb each other', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const env = { XDG_STATE_HOME: temporaryFolder('publish') };
    const runs = await Promise.all(
      ['1', '2', '3'].map((text) => runCli(['publish', '--url', broker.url, '-t', 'a', '-m', text], { env })),
    );
    assert.deepEqual(
      runs.map(({ code }) => code),
      [0, 0, 0],
    );
    await subscriber.waitFor(3);
    assert.deepEqual(subscriber.texts().sort(), ['1', '2', '3']);
  });

  test('wrong input has code 2, and repeats no secret', async () => {
    const env = { XDG_STATE_HOME: temporaryFolder('publish') };
    const wrong: readonly (readonly string[])[] = [
      ['--url', 'mqtt://u:hunter2@localhost', '-t', 'a', '-m', 'x'],
      ['--url', 'http://localhost', '-t', 'a', '-m', 'x'],
      ['--url', 'mqtt://localhost', '-t', 'a/#', '-m', 'x'],
      ['--url', 'mqtt://localhost', '-t', 'a', '-m', 'x', '-q', '3'],
      ['--url', 'mqtt://localhost', '-t', 'a'],
      ['--url', 'mqtt://localhost', '-t', 'a', '-m', 'x', '-l'],
      ['--url', 'mqtt://localhost', '-t', 'a', '-f', '/nowhere/file'],
      ['--url', 'mqtt://localhost', '-t', 'a', '-m', 'x', '--cert', 'only.pem'],
      ['-t', 'a', '-m', 'x'],
    ];
    for (const args of wrong) {
      const { code, stdout, stderr } = await runCli(['publish', ...args], { env });
      assert.equal(code, 2, `${args.join(' ')}: ${stdout}${stderr}`);
      assert.match(stderr, /error [A-Z_]+: /);
      assert.doesNotMatch(stdout + stderr, /hunter2/);
    }
  });
});

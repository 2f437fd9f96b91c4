import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Limit } from '../../src/measurement/limit.js';
import type { MeasurementReport } from '../../src/measurement/measurement-report.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { type CliResult, runCli, startCli } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubscriber } from '../kit/subscriber.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const TIMEOUT_MS = 60_000;
/** What shows everything and takes a moment only. */
const SMALL = ['--messages', '300', '--seconds', '5'];

type Report = Omit<MeasurementReport, 'failure'> & { failure?: { code: string; message: string; remedy: string } };

async function bench(...args: string[]): Promise<CliResult & { report: Report; folder: string }> {
  const folder = temporaryFolder('bench');
  const result = await runCli(['bench', '--dir', folder, '--json', ...args], { timeoutMs: TIMEOUT_MS });
  assert.notEqual(result.stdout, '', result.stderr);
  assert.deepEqual(readdirSync(folder), []);
  return { ...result, report: JSON.parse(result.stdout) as Report, folder };
}

function limitsOf({ throughput }: Report): (Limit['kind'] | undefined)[] {
  return throughput.map(({ limit }) => limit?.kind);
}

describe('bench', () => {
  test('measures way, disk, acceptance and each QoS, sends no more than it said, and leaves nothing behind', async (t) => {
    const broker = await startMosquitto({ verbose: true });
    t.after(() => broker.kill());
    const subscriber = await openSubscriber({ url: broker.url });
    t.after(() => subscriber.close());
    const { code, report, stderr } = await bench('--url', broker.url, ...SMALL);
    assert.equal(code, 0, stderr);

    const { connect, ping, publishQos1, publishQos2 } = report.roundTrip;
    assert.equal(connect?.count, 5);
    for (const times of [connect, ping, publishQos1, publishQos2]) {
      assert.ok(times !== undefined && times.medianMs > 0 && times.p99Ms >= times.medianMs, JSON.stringify(times));
    }
    assert.ok((report.disk?.sync.fdatasyncUs ?? 0) > 0);
    assert.equal(report.acceptance?.single?.count, 200);
    assert.ok((report.acceptance?.perSecond ?? 0) > 0);
    assert.deepEqual(
      report.throughput.map(({ qos, accepted, acknowledged }) => [qos, accepted, acknowledged]),
      [0, 1, 2].map((qos) => [qos, 300, 300]),
    );
    for (const { perSecond, limit, failure, qos, window, load } of report.throughput) {
      assert.ok((perSecond ?? 0) > 0);
      assert.ok(limit !== undefined);
      assert.equal(failure, undefined);
      // Mosquitto announces 20.
      assert.equal(window, qos === 0 ? undefined : 20);
      assert.ok(load.mainThread > 0 && load.mainThread <= 1);
    }
    assert.deepEqual([report.isInterrupted, report.failure], [false, undefined]);

    const [, announced = ''] = /in all at most ([\d,]+) messages/.exec(stderr) ?? [];
    const sent = 300 * 3 + (publishQos1?.count ?? 0) + (publishQos2?.count ?? 0);
    const messages = await subscriber.waitFor(sent);
    assert.equal(messages.length, sent);
    assert.ok(sent <= Number(announced.replaceAll(',', '')), stderr);
    assert.deepEqual([...new Set(messages.map(({ topic }) => topic))], [report.topic]);
    assert.match(report.topic, /^mqtt-north\/bench\/[0-9a-f]{8}$/);
    assert.ok(stderr.includes(report.topic), 'the topic is told before');
    assert.ok(messages.every(({ retain, payload }) => !retain && payload.length === 100));
    const connects = broker.log().match(/ as mqtt-north-bench-\w+ \(p5, c1, k\d+\)/g) ?? [];
    assert.equal(connects.length, 5 + 3);
    assert.ok(
      connects.every((line) => line.includes('c1')),
      'every session is a clean one',
    );
  });

  test('prints for people what it measured and what limits, and says before what it will do', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.kill());
    const args = [
      'bench',
      '--url',
      broker.url,
      '-q',
      '1',
      '-t',
      'a/test',
      '--payload',
      '1 KiB',
      '-V',
      '3.1.1',
      ...SMALL,
    ];
    const { code, stdout, stderr } = await runCli(args);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stderr, /on the topic a\/test\.\n.*at most 300 messages of 1 KiB and 5 s each/);
    assert.match(stderr, /in all at most 400 messages, some 40\d\.\d KiB/);
    for (const pattern of [
      /^broker +mqtt:\/\/127\.0\.0\.1:\d+, MQTT 3\.1\.1, which announces no limits$/m,
      /^disk +.*a write with its sync takes [\d.]+ ms/m,
      /^ping +[\d.]+ ms +[\d.]+ ms +\d+ times$/m,
      /^publish, QoS 1 +[\d.]+ ms +[\d.]+ ms +[\d,]+ +\d+ times$/m,
      /^one message a request +[\d.]+ ms/m,
      /^QoS 1 +300 +\d+ +in [\d.]+ ms +[\d,]+ /m,
      /^What limits\nQoS 1 .+/m,
    ]) {
      assert.match(stdout, pattern);
    }
    assert.doesNotMatch(stdout, /QoS [02]/);
    // Of a clean session (c1) nothing stays at the broker. p2 is MQTT 3.1.1.
    const connects = broker.log().match(/ as mqtt-north-bench-\w+ \(p2, c1, /g);
    assert.equal(connects?.length, 5 + 1, broker.log());
  });

  test('stays below the rate that is given, and says that it is what limits', async (t) => {
    const broker = await startMosquitto();
    t.after(() => broker.kill());
    const { code, report } = await bench('--url', broker.url, '--qos', '1', '--rate', '200', ...SMALL);
    assert.equal(code, 0);
    assert.deepEqual(limitsOf(report), ['rate']);
    const perSecond = report.throughput[0]?.perSecond ?? 0;
    assert.ok(perSecond <= 230, `${perSecond}`);
  });

  test('without QoS 2 at the broker the rest is measured; with nothing left it fails', async (t) => {
    const [one, none] = [await startMosquitto({ maxQos: 1 }), await startMosquitto({ maxQos: 0 })];
    t.after(() => Promise.all([one.kill(), none.kill()]));
    const some = await bench('--url', one.url, ...SMALL);
    assert.equal(some.code, 0, some.stderr);
    assert.deepEqual(
      some.report.throughput.map(({ qos, isConfirmed }) => [qos, isConfirmed]),
      [
        [0, true],
        [1, true],
      ],
    );
    assert.match(some.report.notes.join(), /QoS 2 cannot be measured/);

    const nothing = await bench('--url', one.url, '--qos', '2', ...SMALL);
    assert.equal(nothing.code, 1);
    assert.equal(nothing.report.failure?.code, 'DELIVERY_DOWNGRADED');
    assert.ok(nothing.report.roundTrip.connect !== undefined, 'what was measured before is there');

    const zero = await bench('--url', none.url, '--qos', '0', ...SMALL);
    assert.equal(zero.code, 0, zero.stderr);
    assert.deepEqual(
      zero.report.throughput.map(({ acknowledged, isConfirmed }) => [acknowledged, isConfirmed]),
      [[300, false]],
    );
  });

  test('a broker that refuses is told with its reason and the figures so far', async (t) => {
    const closed = await startMosquitto({ passwords: { plant: 'right' } });
    const forbidding = await startMosquitto({ acl: 'topic readwrite other/#' });
    const small = await startMosquitto({ maxPacketSize: 4096 });
    t.after(() => Promise.all([closed.kill(), forbidding.kill(), small.kill()]));
    const cases: readonly [args: readonly string[], code: string, remedy: RegExp][] = [
      [['--url', `mqtt://127.0.0.1:${await freePort()}`], 'BROKER_REFUSED', /./],
      [['--url', closed.url, '-u', 'plant', '-P', 'hunter2'], 'BROKER_NOT_AUTHORIZED', /./],
      [['--url', forbidding.url], 'PUBLISH_NOT_AUTHORIZED', /--topic/],
      [['--url', forbidding.url, '--qos', '0'], 'PUBLISH_NOT_AUTHORIZED', /./],
      [['--url', small.url, '--payload', '5 KiB'], 'PUBLISH_TOO_LARGE', /--payload/],
    ];
    for (const [args, code, remedy] of cases) {
      const result = await bench(...args, ...SMALL);
      const { report } = result;
      const failure = report.failure ?? (report as unknown as { error: Report['failure'] }).error;
      assert.equal(result.code, 1, result.stdout);
      assert.equal(failure?.code, code, result.stdout);
      assert.match(failure?.remedy ?? '', remedy);
      assert.doesNotMatch(result.stdout + result.stderr, /hunter2/);
      if (code.startsWith('PUBLISH')) assert.ok(report.roundTrip.connect !== undefined);
    }
    const { code, stdout, stderr } = await runCli(['bench', '--url', forbidding.url, ...SMALL]);
    assert.equal(code, 1);
    assert.match(stdout, /^ping +[\d.]+ ms/m);
    assert.match(stderr, /error PUBLISH_NOT_AUTHORIZED: The broker refused a message: 0x87/);
  });

  test('a broker that says nothing, or acknowledges nothing, does not keep it', async (t) => {
    const silent = await startScriptedBroker({ behaviour: 'silent' });
    const deaf = await startScriptedBroker({ onPacket: ({ cmd }) => (cmd === 'publish' ? undefined : 'default') });
    // It takes what comes one at a time, and nothing of what the product itself sends.
    const moody = await startScriptedBroker({
      onPacket: (packet, { number }) => (packet.cmd === 'publish' && number > 5 ? undefined : 'default'),
    });
    t.after(() => Promise.all([silent.close(), deaf.close(), moody.close()]));
    const failureOf = ({ report }: { report: Report }) =>
      (report.failure ?? (report as unknown as { error: Report['failure'] }).error)?.code;
    const [one, two, three] = await Promise.all([
      bench('--url', silent.url, ...SMALL),
      bench('--url', deaf.url, '--seconds', '1'),
      bench('--url', moody.url, '--seconds', '1', '--qos', '1', '--messages', '50'),
    ]);
    assert.deepEqual([one.code, failureOf(one)], [1, 'BROKER_TIMEOUT']);
    assert.deepEqual([two.code, failureOf(two)], [1, 'ACK_OVERDUE']);
    assert.ok((two.report.roundTrip.ping?.count ?? 0) > 0, 'what was measured before is there');
    assert.deepEqual([three.code, failureOf(three)], [1, 'ACK_OVERDUE']);
    assert.ok((three.report.roundTrip.publishQos1?.count ?? 0) > 0);
    assert.deepEqual([three.report.throughput[0]?.acknowledged, limitsOf(three.report)[0]], [0, undefined]);
  });

  test('a broker that closes the connection under load gets less, and after a third time nothing more', async (t) => {
    let count = 0;
    const broker = await startScriptedBroker({
      onPacket: (packet, peer) => {
        if (packet.cmd !== 'publish' || peer.number <= 5 || ++count % 400 !== 0) return 'default';
        peer.reset();
        return undefined;
      },
    });
    t.after(() => broker.close());
    const { code, report } = await bench(
      '--url',
      broker.url,
      '--messages',
      '100000',
      '--seconds',
      '30',
      '--qos',
      '1,2',
    );
    assert.equal(code, 1);
    assert.match(report.failure?.code ?? '', /^(CONNECTION_LOST|BROKER_CLOSED)$/);
    const [step, ...further] = report.throughput;
    assert.deepEqual(further, [], 'QoS 2 is not tried then');
    assert.deepEqual([step?.losses, step?.growth, step?.limit?.kind], [3, 'slowed', 'broker']);
    assert.ok((step?.acknowledged ?? 0) >= 400, String(step?.acknowledged));
    const { length } = broker.peers;
    assert.ok(length <= 5 + 3, `${length} connections`);
  });

  test('Ctrl+C ends it at once with the figures so far; so does it while nothing answers', async (t) => {
    const broker = await startScriptedBroker();
    const silent = await startScriptedBroker({ behaviour: 'silent' });
    t.after(() => Promise.all([broker.close(), silent.close()]));
    const folder = temporaryFolder('bench');
    const args = [
      '--dir',
      folder,
      '--json',
      '--qos',
      '1',
      '--rate',
      '1000',
      '--messages',
      '1000000',
      '--seconds',
      '3600',
    ];
    const run = startCli(['bench', '--url', broker.url, ...args], { input: '' });
    await eventually(
      () => broker.packets.filter(({ cmd }) => cmd === 'publish').length > 300,
      () => `messages of the product: ${run.output}`,
      TIMEOUT_MS,
    );
    const end = await run.kill('SIGINT');
    assert.equal(end.code, 1, run.output);
    const report = JSON.parse(run.stdout) as Report;
    assert.deepEqual([report.isInterrupted, report.failure], [true, undefined]);
    assert.equal(report.roundTrip.publishQos1?.count, 100);
    const [step] = report.throughput;
    assert.ok((step?.acknowledged ?? 0) > 50 && (step?.perSecond ?? 0) > 0, JSON.stringify(step));
    assert.deepEqual(readdirSync(folder), []);
    const last = broker.peers.at(-1)?.packets.at(-1);
    assert.equal(last?.cmd, 'disconnect', 'it has said farewell');

    const early = startCli(['bench', '--url', silent.url, '--dir', folder], { input: '' });
    await eventually(() => silent.peers.length > 0, 'a connection');
    assert.equal((await early.kill('SIGINT')).code, 1, early.output);
    assert.match(early.stdout, /has not accepted us\n(.*\n)*Ended before its time/);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('wrong options are told at once, and nothing is made or sent', async (t) => {
    const broker = await startScriptedBroker();
    t.after(() => broker.close());
    const folder = temporaryFolder('bench');
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const url = ['--url', broker.url, '--dir', folder];
    const cases: readonly [args: readonly string[], text: RegExp][] = [
      [[], /required option '--url <url>'/],
      [['--url', 'http://localhost'], /COMMAND_INVALID/],
      [['--url', 'mqtt://u:hunter2@localhost'], /COMMAND_INVALID/],
      [[...url, '--messages', '0'], /whole number from 1/],
      [[...url, '--messages', '1e3'], /whole number from 1/],
      [[...url, '--seconds', '0'], /seconds from 0\.1/],
      [[...url, '--seconds', 'long'], /seconds from 0\.1/],
      [[...url, '--payload', '1 GiB'], /from 1 to 8 MiB/],
      [[...url, '--payload', 'x'], /from 1 to 8 MiB/],
      [[...url, '--rate', '-1'], /whole number from 1/],
      [[...url, '--qos', '3'], /0, 1 or 2/],
      [[...url, '--qos', '1,'], /0, 1 or 2/],
      [[...url, '-t', 'a/#'], /COMMAND_INVALID: The topic contains the wildcard/],
      [[...url, '--cert', 'only.pem'], /belong together/],
      [['--url', broker.url, '--dir', join(folder, 'missing')], /There is no such folder/],
      [['--url', broker.url, '--dir', file], /This is no folder/],
      [[...url, '--sconds', '3'], /Did you mean --seconds/],
    ];
    for (const [args, text] of cases) {
      const result = await runCli(['bench', ...args]);
      assert.equal(result.code, 2, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
      assert.match(result.stderr, text);
      assert.doesNotMatch(result.stderr, /hunter2/);
    }
    assert.deepEqual(readdirSync(folder), ['file']);
    assert.equal(broker.peers.length, 0);
    assert.ok(existsSync(file));
  });
});

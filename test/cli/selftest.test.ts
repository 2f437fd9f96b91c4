import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { SelftestReport } from '../../src/selftest/selftest.js';
import { eventually } from '../kit/deadline.js';
import { hasSession } from '../kit/kept-session.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { freePort } from '../kit/ports.js';
import { type CliResult, runCli, startCli } from '../kit/process.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const TIMEOUT_MS = 120_000;

async function selftest(
  ...args: string[]
): Promise<CliResult & { report: SelftestReport; of(name: string): string; folder: string }> {
  const folder = temporaryFolder('selftest');
  const result = await runCli(['selftest', '--dir', folder, '--json', ...args], { timeoutMs: TIMEOUT_MS });
  assert.notEqual(result.stdout, '', result.stderr);
  const report = JSON.parse(result.stdout) as SelftestReport;
  const of = (name: string): string => {
    const check = report.checks.find((one) => one.name === name);
    return check === undefined ? 'missing' : `${check.verdict} ${check.found}`;
  };
  return { ...result, report, of, folder };
}

/** The folder that a run has made for itself. */
function runFolder(folder: string): string | undefined {
  const name = readdirSync(folder).find((entry) => entry.startsWith('mqtt-north-selftest-'));
  return name === undefined ? undefined : join(folder, name);
}

describe('selftest', () => {
  test('kills a process that stores and publishes, finds every promise kept, and leaves nothing behind', async () => {
    const { code, report, of, folder, stdout, stderr } = await selftest('--kills', '6');
    assert.equal(code, 0, stdout + stderr);
    assert.deepEqual(
      report.checks.map(({ name }) => name),
      [
        'file system',
        'sync',
        'receipt time',
        'room',
        'lock',
        'database',
        'broker',
        'kills',
        'receipts',
        'duplicates',
        'order',
        'cache',
      ],
    );
    // The machine may be busier in one measurement than in the other.
    assert.match(of('receipt time'), /^(PASS|WARN) one message is committed in/, stdout);
    for (const name of ['lock', 'database', 'broker', 'kills', 'receipts', 'duplicates', 'order', 'cache']) {
      assert.match(of(name), /^PASS/, stdout);
    }
    assert.match(of('kills'), /6 kills/);
    assert.match(of('database'), /journal_mode=wal, synchronous=full/);
    // With the session kept there is no excuse for a duplicate.
    assert.match(of('duplicates'), /^PASS none in [\d,]+ messages$/);
    const [, messages = '0'] = /([\d,]+) arrived/.exec(of('receipts')) ?? [];
    assert.ok(Number(messages.replaceAll(',', '')) > 20, of('receipts'));
    assert.equal(report.evidence, undefined);
    assert.deepEqual(readdirSync(folder), []);
  });

  test('a disk that loses the write-ahead log at a kill is found out, and the evidence is kept', async () => {
    const folder = temporaryFolder('selftest');
    const run = startCli(['selftest', '--dir', folder, '--json', '--kills', '4'], { input: '' });
    // As a volatile cache does at a power cut: what was written last is gone, though each sync had said that it is there.
    let removed = 0;
    await eventually(
      () => {
        const own = runFolder(folder);
        const log = join(own ?? '', 'data', 'connectors', 'selftest', 'cache.db-wal');
        if (own !== undefined && existsSync(log)) {
          rmSync(log, { force: true });
          removed++;
        }
        return run.end !== undefined;
      },
      () => `the end of the run: ${run.output.slice(-2000)}`,
      TIMEOUT_MS,
    );
    const report = JSON.parse(run.stdout) as SelftestReport;
    assert.ok(removed > 0);
    assert.equal((await run.ended).code, 1, run.output);
    assert.equal(report.verdict, 'FAIL');
    const verdict = (name: string) => report.checks.find((check) => check.name === name)?.verdict;
    assert.ok(verdict('receipts') === 'FAIL' || verdict('kills') === 'FAIL', run.stdout);
    assert.equal(report.evidence, runFolder(folder));
    const evidence = report.evidence ?? '';
    assert.deepEqual(JSON.parse(readFileSync(join(evidence, 'report.json'), 'utf8')), report);
    assert.match(readFileSync(join(evidence, 'record.log'), 'utf8'), /receipt telemetry 0\.\.\d+\n/);
    assert.ok(existsSync(join(evidence, 'data', 'connectors', 'selftest', 'cache.db')));
  });

  test('at a broker of the plant it uses a subscriber of its own, and leaves no session there', async (t) => {
    // With room for all that is under way it refuses nothing, and what is refused and tried again would lose its place.
    const broker = await startMosquitto({ passwords: { plant: 'hunter2' }, verbose: true });
    t.after(() => broker.kill());
    const { code, of, report, stdout, stderr } = await selftest(
      ...['--kills', '3', '--url', broker.url, '-u', 'plant', '-P', 'hunter2', '-t', 'a/test'],
    );
    assert.equal(code, 0, stdout + stderr);
    assert.match(of('broker'), /^PASS .*MQTT 5, maximum QoS 2, subscriber at QoS 2$/);
    assert.match(of('duplicates'), /^PASS none in [\d,]+ messages$/);
    assert.match(of('receipts'), /^PASS/);
    assert.notEqual(report.verdict, 'FAIL');
    assert.doesNotMatch(stdout + stderr, /hunter2/);
    assert.match(broker.log(), /a\/test\/[0-9a-f]{8}\/telemetry/);

    const ids = new Set(broker.log().match(/mqtt-north-selftest-[0-9a-f]{8}(-watch)?/g));
    assert.equal(ids.size, 2, [...ids].join());
    for (const clientId of ids) {
      const login = { username: 'plant', password: 'hunter2' };
      assert.equal(await hasSession(broker.url, clientId, login), false, clientId);
    }
  });

  test('a broker that caps at QoS 1 is said to give at least once, and that is a warning', async (t) => {
    const broker = await startMosquitto({ maxQos: 1 });
    t.after(() => broker.kill());
    const { code, of, stdout } = await selftest('--kills', '3', '--url', broker.url);
    assert.equal(code, 0, stdout);
    assert.match(of('broker'), /^WARN .*this broker grants QoS 1/);
    assert.match(of('receipts'), /^PASS/);
    assert.match(of('duplicates'), /^(PASS|WARN) .*this broker grants QoS 1/);
  });

  test('a 3.1.1 broker that caps at QoS 1 gets what it takes, and what it would refuse is said with the remedy', async (t) => {
    const broker = await startMosquitto({ maxQos: 1 });
    t.after(() => broker.kill());
    const { code, of, report, stdout } = await selftest('--kills', '3', '-V', '3.1.1', '--url', broker.url);
    assert.equal(code, 0, stdout);
    assert.match(of('broker'), /^WARN .*MQTT 3\.1\.1.*this broker grants QoS 1/);
    const { remedy = '', meaning } = report.checks.find(({ name }) => name === 'broker') ?? { meaning: '' };
    assert.match(remedy, /Set qos to 1/);
    assert.match(meaning, /at least once at best/);
    assert.match(of('kills'), /^PASS 3 kills/);
    assert.match(of('receipts'), /^PASS/);
  });

  test('a broker that refuses the topic fails with its reason', async (t) => {
    const broker = await startMosquitto({ acl: 'topic readwrite other/#' });
    t.after(() => broker.kill());
    const { code, of, report, stdout } = await selftest('--kills', '3', '--url', broker.url);
    assert.equal(code, 1, stdout);
    assert.match(of('broker'), /^FAIL .*PUBLISH_NOT_AUTHORIZED/);
    assert.ok(report.evidence !== undefined);
  });

  test('what cannot be tested is told at once, with the right exit code, and leaves nothing', async () => {
    const folder = temporaryFolder('selftest');
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const away = `mqtt://127.0.0.1:${await freePort()}`;
    const cases: readonly [args: readonly string[], code: number, text: RegExp][] = [
      [['--dir', join(folder, 'missing')], 2, /COMMAND_INVALID: There is no such folder/],
      [['--dir', file], 2, /COMMAND_INVALID: This is no folder/],
      [['--dir', '/proc'], 2, /COMMAND_INVALID: No folder can be made there/],
      [['--dir', folder, '--kills', '0'], 2, /whole number from 1/],
      [['--dir', folder, '--kills', 'many'], 2, /whole number from 1/],
      [['--dir', folder, '--url', 'http://localhost'], 2, /COMMAND_INVALID/],
      [['--dir', folder, '--url', 'mqtt://u:hunter2@localhost'], 2, /COMMAND_INVALID/],
      [['--dir', folder, '--url', away, '-t', 'a/#'], 2, /COMMAND_INVALID/],
      [['--dir', folder, '--url', away, '--cert', 'only.pem'], 2, /belong together/],
      [['--dir', folder, '--url', away], 1, /BROKER_REFUSED/],
      [['--dir', folder, '--url', away, '-V', '6'], 2, /COMMAND_INVALID.*protocolVersion/],
      [['--dir', folder, '-V', '6'], 2, /COMMAND_INVALID: Without --url .*: --protocol-version\./],
      [['--dir', folder, '-u', 'ann', '-P', 'hunter2'], 2, /COMMAND_INVALID: Without --url .*: --username, --pw\./],
      [
        ['--dir', folder, '--cafile', 'ca.pem', '--insecure'],
        2,
        /COMMAND_INVALID: Without --url .*: --cafile, --insec/,
      ],
      [['-c', join(folder, 'missing.yaml')], 2, /CONFIG_MISSING/],
    ];
    for (const [args, code, text] of cases) {
      const result = await runCli(['selftest', ...args]);
      assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
      assert.match(result.stderr, text);
      assert.doesNotMatch(result.stderr, /hunter2/);
    }
    assert.deepEqual(readdirSync(folder), ['file']);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`stopped by ${signal} while it connects to a broker that says nothing, it ends at once and leaves nothing`, async (t) => {
      const folder = temporaryFolder('selftest');
      const silent = await startScriptedBroker({ behaviour: 'silent' });
      t.after(() => silent.close());
      const run = startCli(['selftest', '--dir', folder, '--url', silent.url], { input: '' });
      await eventually(() => silent.peers.length > 0, 'the connection');
      assert.ok(runFolder(folder) !== undefined);
      assert.deepEqual(await run.kill(signal), { code: 1, signal: null }, run.output);
      assert.match(run.stderr, /SERVICE_STOPPING: The self-test was stopped/);
      assert.doesNotMatch(run.stderr, /Retry-After/);
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  test('stopped while it subscribes, it tries to give the session back, and no second signal keeps it from clearing away', async (t) => {
    const folder = temporaryFolder('selftest');
    const isWatch = ({ clientId }: { clientId: string }) => clientId.endsWith('-watch');
    const broker = await startScriptedBroker({ connack: (connect) => (isWatch(connect) ? null : {}) });
    t.after(() => broker.close());
    const asked = () => broker.packets.filter((packet) => packet.cmd === 'connect').filter(isWatch);
    const run = startCli(['selftest', '--dir', folder, '--url', broker.url], { input: '' });
    await eventually(() => asked().length === 1, 'the subscriber');
    const ended = run.kill('SIGINT');
    await eventually(() => asked().length === 2, 'the end of its session');
    process.kill(run.pid, 'SIGINT');
    assert.deepEqual(await ended, { code: 1, signal: null }, run.output);
    assert.match(run.stderr, /The self-test was stopped/);
    assert.deepEqual(readdirSync(folder), []);
    const last = asked().at(-1);
    assert.deepEqual([last?.clean, last?.properties?.sessionExpiryInterval], [true, 0]);
  });

  test('stopped by Ctrl+C it ends its process and removes its folder; killed, its process ends by itself', async () => {
    const folder = temporaryFolder('selftest');
    const writerPid = async (): Promise<number> => {
      const lock = await eventually(() => {
        const path = join(runFolder(folder) ?? folder, 'data', 'lock.json');
        return existsSync(path) ? path : undefined;
      }, 'the process to be there');
      return (JSON.parse(readFileSync(lock, 'utf8')) as { pid: number }).pid;
    };
    const stopped = startCli(['selftest', '--dir', folder, '--kills', '1000'], { input: '' });
    const first = await writerPid();
    const end = await stopped.kill('SIGINT');
    assert.equal(end.code, 1, stopped.output);
    assert.match(stopped.stderr, /The self-test was stopped/);
    assert.deepEqual(readdirSync(folder), []);
    await eventually(() => !isRunning(first), 'the process to end');

    const killed = startCli(['selftest', '--dir', folder, '--kills', '1000'], { input: '' });
    await writerPid();
    await killed.kill('SIGKILL');
    // The lock says who was the last.
    const last = await writerPid();
    await eventually(() => !isRunning(last), 'the process to end by itself');
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

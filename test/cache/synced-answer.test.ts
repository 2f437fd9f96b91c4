/** Accepted means synced, as the operating system sees the real service: from the bytes of a request to its 202. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRunFile } from '../../src/service/run-file.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { type SystemCall, traceScript, whyNotTraceable } from '../kit/strace.js';
import { serviceFolder } from '../service/service-process.js';

const SINGLY = 12;
const AT_ONCE = 60;
const SYNCS = ['fdatasync', 'fsync'];
const WRITES = ['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2'];
const FRAME_HEADER_BYTES = 24;

/** Told apart in what strace shows of a call, which is its first 64 bytes: each page of such a payload says whose it is. */
function payloadOf(name: string): string {
  return `<${name}>`.repeat(4000);
}

/** Hands it in over a connection of its own, and gives the status. */
function hand(url: string, name: string): Promise<number> {
  const path = `/api/content?source=${name}&connector=plant&type=messages`;
  const headers = { 'content-type': 'application/json', 'idempotency-key': name };
  return new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: false });
    const asked = request(url + path, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    asked.on('error', reject);
    asked.end(JSON.stringify([{ topic: 't', payload: payloadOf(name) }]));
  });
}

/** The first bytes of what a call has written, of which strace shows the unprintable ones as in C. */
function firstBytes(text: string): number[] {
  const shown = /"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? '';
  const named: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, v: 11, f: 12 };
  return [...shown.matchAll(/\\([0-7]{1,3})|\\(.)|(.)/gs)].map(([, octal, escaped, plain]) => {
    if (octal !== undefined) return Number.parseInt(octal, 8);
    return escaped === undefined ? (plain ?? '').charCodeAt(0) : (named[escaped] ?? escaped.charCodeAt(0));
  });
}

/** The header of a frame that ends a transaction: it says how large the database is then (SQLite file format, 4.1). */
function isCommit({ name, text }: SystemCall): boolean {
  if (name !== 'pwrite64' || !text.includes(`, ${FRAME_HEADER_BYTES}, `)) return false;
  return firstBytes(text)
    .slice(4, 8)
    .some((byte) => byte !== 0);
}

/** Who asked on the connection of an answer: the last request that was read from it. */
function askerOf(answer: SystemCall, reads: readonly SystemCall[]): string | undefined {
  const asked = reads.findLast(({ path, end }) => path === answer.path && end < answer.begin);
  return /source=(\w+)&/.exec(asked?.text ?? '')?.[1];
}

test('before a 202 of the service the log with its message and the end of the transaction is synced', async (t) => {
  const obstacle = whyNotTraceable();
  if (obstacle !== undefined) {
    t.skip(obstacle);
    return;
  }
  const broker = await startScriptedBroker();
  t.after(() => broker.close());
  // It is online, so that the session stores its own progress between the transactions of the producers.
  const settings = { url: broker.url, qos: 2, reconnectPeriod: 200 };
  const { folder, configFile } = serviceFolder({ connectors: [{ id: 'plant', settings }] });
  const traced = traceScript('src/cli/main.js', ['run', '-c', configFile], ['read', 'readv', ...SYNCS, ...WRITES]);
  const dataDir = join(folder, 'data');
  t.after(async () => {
    // The service outlives a strace that is killed.
    const left = traced.process.end === undefined ? readRunFile(dataDir)?.pid : undefined;
    if (left !== undefined) process.kill(left, 'SIGKILL');
    await traced.process.kill();
  });
  const [, url = ''] = await traced.process.waitForOutput(/"url":"(http:[^"]+)"/, 60_000);
  // A signal to strace does not reach the service.
  const pid = readRunFile(dataDir)?.pid;
  assert.ok(pid !== undefined);

  const singly = Array.from({ length: SINGLY }, (_, index) => `single${index}`);
  for (const name of singly) assert.equal(await hand(url, name), 202);
  const atOnce = Array.from({ length: AT_ONCE }, (_, index) => `many${index}`);
  // Some come twice with one key: the answer to the second must not overtake the sync of the first.
  const repeated = atOnce.filter((_, index) => index % 5 === 0);
  const statuses = await Promise.all([...atOnce, ...repeated].map((name) => hand(url, name)));
  assert.deepEqual(new Set(statuses), new Set([202]));
  process.kill(pid, 'SIGTERM');
  const end = await traced.process.ended;
  assert.equal(end.code, 0, traced.process.output);

  const calls = traced.calls().filter(({ hasSucceeded }) => hasSucceeded);
  const reads = calls.filter(({ name, text }) => name.startsWith('read') && text.includes('POST /api/content'));
  const answers = calls.filter(({ name, text }) => WRITES.includes(name) && text.includes('"HTTP/1.1 202'));
  const ofLog = calls.filter(({ path }) => path?.endsWith('/cache.db-wal'));
  const syncs = ofLog.filter(({ name }) => SYNCS.includes(name));
  const written = ofLog.filter(({ name }) => WRITES.includes(name));
  const asked = answers.map((answer) => askerOf(answer, reads) ?? 'nobody');
  assert.deepEqual(asked.sort(), [...singly, ...atOnce, ...repeated].sort(), 'each answer is known by its request');
  const usedSyncs = new Set<SystemCall>();
  for (const answer of answers) {
    const name = askerOf(answer, reads);
    const lastIndex = written.findLastIndex(({ text, begin }) => text.includes(`<${name}>`) && begin < answer.begin);
    assert.ok(lastIndex >= 0, `${name}: nothing of it was written to the log before its 202`);
    // A frame is its header and then its page. The frame with the last of the message may be the one that commits.
    const commitIndex = written.findIndex((write, index) => index >= lastIndex - 1 && isCommit(write));
    const page = commitIndex < 0 ? undefined : written[commitIndex + 1];
    assert.ok(page !== undefined && page.end < answer.begin, `${name}: 202 came before the end of its transaction`);
    const sync = syncs.find(({ begin, end: syncEnd }) => begin > page.end && syncEnd < answer.begin);
    assert.ok(sync !== undefined, `${name}: what was written to the log was not synced before its 202`);
    usedSyncs.add(sync);
  }
  t.diagnostic(`${answers.length} answers rest on ${usedSyncs.size} syncs of ${syncs.length}`);
});

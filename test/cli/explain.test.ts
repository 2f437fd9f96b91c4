import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findExplanations } from '../../src/cli/explain.js';
import { valueAt } from '../../src/config/shape.js';
import { NorthError } from '../../src/core/error.js';
import { ERRORS } from '../../src/core/error-codes.js';
import { REASON_ENTRIES } from '../../src/core/reason-codes.js';
import { runCli } from '../kit/process.js';

const env = { NO_COLOR: '1' };

function titles(text: string): string[] {
  return findExplanations(text).map((found) => {
    if (found.kind === 'error') return found.code;
    return found.kind === 'reason' ? `5: ${found.entry.code}` : `3.1.1: ${found.code}`;
  });
}

function remedyFor(text: string): string {
  try {
    findExplanations(text);
  } catch (error) {
    if (error instanceof NorthError && error.code === 'EXPLANATION_MISSING') return error.remedy;
    throw error;
  }
  throw new Error(`${text} was explained.`);
}

test('a code of ours is found in any spelling', () => {
  for (const text of ['CACHE_FULL', 'cache_full', 'Cache full', 'cache-full '])
    assert.deepEqual(titles(text), ['CACHE_FULL']);
});

test('a reason code is found by number and by name', () => {
  for (const text of ['0x87', '0X87', '135']) assert.deepEqual(titles(text), ['5: 135'], text);
  assert.deepEqual(titles('NOT AUTHORIZED'), ['5: 135', '3.1.1: 5']);
  assert.deepEqual(titles('qos-not-supported'), ['5: 155']);
  assert.deepEqual(titles('identifier rejected'), ['3.1.1: 2']);
});

test('a number that means something in both versions is explained for both', () => {
  assert.deepEqual(titles('0'), ['5: 0', '3.1.1: 0']);
  assert.deepEqual(titles('4'), ['5: 4', '3.1.1: 4']);
  assert.deepEqual(titles('0x05'), ['3.1.1: 5']);
});

test('every code of ours and every reason code is explained by its own name', () => {
  for (const code of Object.keys(ERRORS)) assert.deepEqual(titles(code), [code]);
  for (const { code, name } of REASON_ENTRIES) assert.ok(titles(name).includes(`5: ${code}`), name);
});

test('what is not known gives the nearest that is', () => {
  assert.equal(remedyFor('CACHE_FUL'), 'Did you mean CACHE_FULL?');
  assert.equal(remedyFor('not autorised'), 'Did you mean not authorized?');
  assert.equal(remedyFor('87'), 'Did you mean 0x87?');
  for (const text of ['0x7f', '9999', '1e2', '-1', 'xyzzyxyzzy', '']) assert.match(remedyFor(text), /./);
});

test('the command prints meaning and remedy per packet, and exits with 0; an unknown code exits with 1', async () => {
  const known = await runCli(['explain', '0x87'], { env });
  assert.deepEqual([known.code, known.stderr], [0, '']);
  assert.match(
    known.stdout,
    /^0x87 not authorized {2}135 in decimal, MQTT 5\n {2}CONNACK\n {2}We are not allowed to connect.*\n {2}→ .*\n {2}PUBACK, PUBREC\n/,
  );
  const own = await runCli(['explain', 'cache', 'full'], { env });
  assert.equal(
    own.stdout,
    `CACHE_FULL\n  ${ERRORS.CACHE_FULL.meaning}\n  → ${ERRORS.CACHE_FULL.remedy}\n  Doing the same again later may work; the cause can pass by itself.\n`,
  );
  const unknown = await runCli(['explain', 'CACHE_FUL'], { env });
  assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /error EXPLANATION_MISSING: .*\n {2}→ Did you mean CACHE_FULL\?/);
  const json: unknown = JSON.parse((await runCli(['explain', '4', '--json'], { env })).stdout);
  assert.deepEqual(
    [valueAt(json, [0, 'kind']), valueAt(json, [0, 'hex']), valueAt(json, [1, 'name'])],
    ['reason', '0x04', 'bad user name or password'],
  );
});

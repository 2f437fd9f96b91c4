import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { valueAt } from '../../src/config/shape.js';
import { runCli } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

async function check(
  text: string,
  args: readonly string[] = [],
  env: Record<string, string | undefined> = { NO_COLOR: '1' },
) {
  const cwd = temporaryFolder('check');
  writeFileSync(join(cwd, 'c.yaml'), text);
  return runCli(['check', '-c', 'c.yaml', ...args], { cwd, env });
}

const WRONG = `connectors:
  - id: plant
    settings:
      url: mqtts://broker.example.com
      reconectPeriod: 5 s
      qos: 3
`;

test('every problem is printed with code, place and hint, then a summary, and the exit code is 2', async () => {
  const { code, stdout, stderr } = await check(WRONG);
  assert.equal(code, 2);
  assert.equal(stderr, '');
  assert.equal(
    stdout,
    `error CONFIG_KEY_UNKNOWN: connectors[0].settings.reconectPeriod is not a known key
  at c.yaml:5:7
  → Did you mean reconnectPeriod?

error CONFIG_INVALID: connectors[0].settings.qos must be 0, 1 or 2
  at c.yaml:6:12
  → Delivery: 0 not acknowledged (may be lost and, after a crash, repeated), 1 at least once, 2 exactly once. A message may carry its own.

✖ c.yaml has 2 errors.
`,
  );
});

test('warnings do not make a configuration invalid', async () => {
  const { code, stdout } = await check(
    'connectors: [{ id: a, settings: { url: "mqtts://broker.example.com", qos: 2 } }]\n',
  );
  assert.equal(code, 0);
  assert.match(stdout, /^warning AUTHENTICATION_MISSING: connectors\[0\]\.settings\.url leads to another machine/);
  assert.match(
    stdout,
    /✔ c\.yaml is valid: 1 connector, 0 inputs, with 1 warning\.\n {4}a {2}mqtts:\/\/broker\.example\.com:8883 {2}QoS 2, exactly once; authentication none\n$/,
  );
});

test('--json gives the same for programs', async () => {
  const { code, stdout } = await check(WRONG, ['--json']);
  assert.equal(code, 2);
  const result: unknown = JSON.parse(stdout);
  assert.equal(valueAt(result, ['valid']), false);
  assert.deepEqual(valueAt(result, ['errors', 0]), {
    severity: 'error',
    code: 'CONFIG_KEY_UNKNOWN',
    path: 'connectors[0].settings.reconectPeriod',
    message: 'is not a known key',
    hint: 'Did you mean reconnectPeriod?',
    line: 5,
    column: 7,
  });
});

test('what only compiling a transformer can tell is told with its place', async () => {
  const { code, stdout } = await check(`connectors:
  - id: a
    settings: { url: mqtt://127.0.0.1 }
    transformers:
      - type: time-values-to-mqtt
        topic: "plant/{pointId"
      - type: json-to-mqtt
        language: jsonata
        topic: a
        payload: "$sum("
`);
  assert.equal(code, 2);
  assert.match(stdout, /error CONFIG_INVALID: connectors\[0\]\.transformers\[0\]\.topic[^\n]*\n {2}at c\.yaml:6:16/);
  assert.match(stdout, /error CONFIG_INVALID: connectors\[0\]\.transformers\[1\]\.payload[^\n]*\n {2}at c\.yaml:10:18/);
});

test('a syntax problem and a missing file are told in the same form', async () => {
  const syntax = await check('connectors: [\n');
  assert.equal(syntax.code, 2);
  assert.match(
    syntax.stdout,
    /^error CONFIG_SYNTAX: [\s\S]*\n {2}at c\.yaml:\d+:\d+\n {2}→ [\s\S]*✖ c\.yaml has 1 error\.\n$/,
  );
  const missing = await runCli(['check'], { cwd: temporaryFolder('check'), env: { NO_COLOR: '1' } });
  assert.deepEqual([missing.code, missing.stdout], [2, '']);
  assert.match(missing.stderr, /^error CONFIG_MISSING: .*\n {2}at mqtt-north\.yaml\n {2}→ .*mqtt-north init/);
});

test('colour goes out only where it is wanted', async () => {
  const sequence = '\u001b[';
  assert.ok(!(await check(WRONG, [], { NO_COLOR: undefined, FORCE_COLOR: undefined })).stdout.includes(sequence));
  assert.ok((await check(WRONG, [], { NO_COLOR: undefined, FORCE_COLOR: '1' })).stdout.includes(sequence));
  assert.ok(!(await check(WRONG, [], { NO_COLOR: '1', FORCE_COLOR: '1' })).stdout.includes(sequence));
});

test('control characters of the file do not reach the terminal', async () => {
  const { stdout } = await check('"a\\e[2Jb": 1\n');
  assert.ok(!stdout.includes('\u001b'));
  assert.match(stdout, /a.*\[2Jb/);
  const { stderr } = await runCli(['check', '-c', '\u001b[2Jx'], { env: { NO_COLOR: '1' } });
  assert.ok(!stderr.includes('\u001b'));
  assert.match(stderr, /at .*\[2Jx/);
});

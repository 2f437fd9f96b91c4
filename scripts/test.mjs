// `npm test`: format and lint, types, compilation, the build, and every test file, two at a time. It goes on after a
// failure, so that one run shows everything, and ends with what was skipped and a line `N passed, N failed`.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from './build.mjs';
import { compile } from './compile.mjs';
import { ensureTools } from './ensure-tools.mjs';
import { strayTests, testFiles, toolsOf } from './test-files.mjs';

process.chdir(join(import.meta.dirname, '..'));

const CONCURRENCY = 2;
const FILE_TIMEOUT_MS = Number(process.env.TEST_FILE_TIMEOUT_MS ?? 5 * 60 * 1000);
const OUTPUT_MAX_CHARS = 32 * 1024;
const REPORTER = new URL('./test-events.mjs', import.meta.url).href;

const counts = { passed: 0, failed: 0, skipped: 0 };
const failures = [];
const skips = new Map();
const running = new Set();

function fail(where, text) {
  counts.failed++;
  failures.push(where);
  console.log(`✖ ${where}\n${indent(text)}\n`);
}

function skip(where, reason) {
  counts.skipped++;
  skips.set(reason, [...(skips.get(reason) ?? []), where]);
}

function indent(text) {
  return text.trimEnd().replace(/^/gm, '    ');
}

function seconds(startMs) {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}

/** A check that is no test file; `run` gives what is wrong, or nothing. */
function check(name, run) {
  const startMs = performance.now();
  const problem = run();
  if (problem !== undefined && problem !== '') {
    fail(name, problem);
    return;
  }
  counts.passed++;
  console.log(`✔ ${name} (${seconds(startMs)})`);
}

function tool(script, ...args) {
  const { status, signal, stdout, stderr, error } = spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status === 0) return undefined;
  return `${stdout}${stderr}${error?.message ?? ''}`.trim() || `It ended with ${signal ?? `code ${status}`}.`;
}

/** Runs one file in a process of its own and resolves when that process has ended. */
function runFile(file) {
  const startMs = performance.now();
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', `--test-reporter=${REPORTER}`, join('build', file.replace(/\.ts$/, '.js'))],
    { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
  );
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      output = (output + chunk).slice(-OUTPUT_MAX_CHARS);
    });
  }
  const own = { passed: 0, failed: [], skipped: 0, waiting: [], isComplete: false, problem: undefined };
  const give = (problem) => {
    own.problem ??= problem;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(
    () => give(`It still ran after ${FILE_TIMEOUT_MS / 1000} s; TEST_FILE_TIMEOUT_MS changes that.`),
    FILE_TIMEOUT_MS,
  );
  createInterface({ input: child.stdio[3] }).on('line', (line) => note(file, own, JSON.parse(line), give));

  return new Promise((resolve) => {
    child.once('error', (error) => {
      own.problem ??= error.message;
      if (child.pid === undefined) resolve();
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      summarize(file, own, { code, signal }, output, startMs);
      resolve();
    });
  });
}

function note(file, own, event, give) {
  if (event.type === 'waiting') own.waiting.push(event.name);
  if (event.type === 'end') own.isComplete = true;
  if (event.type === 'alive') {
    const what = event.resources.length === 0 ? 'something' : event.resources.join(', ');
    give(`All its tests are over, but the process does not end: ${what} is still open.`);
  }
  if (!['passed', 'failed', 'skipped', 'parent'].includes(event.type)) return;
  const index = own.waiting.indexOf(event.name);
  if (index >= 0) own.waiting.splice(index, 1);
  if (event.type === 'failed') own.failed.push(event);
  else if (event.type === 'parent' || event.isSuite) return;
  else if (event.type === 'skipped') {
    own.skipped++;
    skip(`${file} > ${event.name}`, typeof event.reason === 'string' ? event.reason : 'no reason is given');
  } else own.passed++;
}

function summarize(file, own, { code, signal }, output, startMs) {
  counts.passed += own.passed;
  const said = output.trim() === '' ? '' : `\nIts output:\n${indent(output)}`;
  for (const { name, error, isTodo } of own.failed) {
    if (isTodo) skip(`${file} > ${name}`, 'it is marked as to be done');
    else fail(`${file} > ${name}`, error);
  }
  const failedCount = own.failed.length;
  if (own.problem === undefined) {
    if (!own.isComplete) own.problem = `The process ended (${signal ?? `code ${code}`}) before its tests did.`;
    else if (code !== 0 && failedCount === 0) own.problem = `It ended with code ${code}, though no test failed.`;
    else if (own.passed + failedCount + own.skipped === 0) own.problem = 'It holds no test.';
  }
  if (own.problem !== undefined) {
    const open = own.waiting.length === 0 ? '' : `\nNot finished: ${own.waiting.join('; ')}`;
    fail(file, `${own.problem}${open}${said}`);
  } else if (failedCount > 0) {
    if (said !== '') console.log(indent(said.trimStart()));
  } else {
    const skipped = own.skipped === 0 ? '' : `, ${own.skipped} skipped`;
    console.log(`✔ ${file} (${own.passed} tests${skipped}, ${seconds(startMs)})`);
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGKILL');
    console.log(`\nStopped by ${signal}.`);
    process.exit(1);
  });
}

const files = testFiles();
const tools = new Map(files.map((file) => [file, toolsOf(file)]));
const wanted = [...tools.values()].flatMap(({ needed, optional }) => [...needed, ...optional]);
const missing = new Map(ensureTools([...new Set(wanted)]).map(({ tool, reason }) => [tool, reason]));

check('format and lint', () => tool('node_modules/@biomejs/biome/bin/biome', 'ci', '--colors=off', '.'));
check('types', () => tool('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'));
check('compilation', () => (compile() === 0 ? undefined : 'The files above do not compile.'));
check('build', () => (build() === 0 ? undefined : 'See the messages above.'));
check('every test is run', () => strayTests().join('\n'));

const queue = files.filter((file) => {
  const absent = tools.get(file)?.needed.find((tool) => missing.has(tool));
  if (absent !== undefined) skip(file, missing.get(absent));
  return absent === undefined;
});
const started = new Set();
async function work() {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    started.add(file);
    await runFile(file);
  }
}
await Promise.all(Array.from({ length: CONCURRENCY }, work));

for (const [reason, places] of skips) {
  console.log(`Skipped, ${reason}:`);
  for (const place of places) console.log(`    ${place}`);
}
if (failures.length > 0) console.log(`Failed:\n${indent(failures.join('\n'))}`);
const skippedText = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
console.log(`\n${counts.passed} passed, ${counts.failed} failed${skippedText}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

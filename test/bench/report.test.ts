import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { casesNamed } from '../../bench/all-cases.js';
import type { BenchResult } from '../../bench/case.js';
import { verdictsOf as qosVerdicts } from '../../bench/cases/qos.js';
import { verdictsOf as roundTripVerdicts } from '../../bench/cases/round-trip.js';
import type { ContenderScript, Standing } from '../../bench/contest.js';
import { writeRecord } from '../../bench/record.js';
import { type CaseRecord, renderReport } from '../../bench/report.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const RESULT: BenchResult = {
  paragraphs: ['How it was measured.'],
  tables: [
    {
      caption: 'Rates',
      columns: ['contender', 'rate'],
      rows: [
        ['a | b', '1,234'],
        ['c', ''],
      ],
    },
  ],
  plots: [],
  verdicts: [
    { target: 'at least 2 ×', measured: '3 ×', isMet: true },
    { target: 'at least 9 ×', measured: '4 ×', isMet: false },
  ],
  raw: { perSecond: [1, 2, 3] },
};

function recordOf(name: string, result: Partial<BenchResult> = {}): CaseRecord {
  const date = '2026-01-15';
  return { name, title: `Case ${name}`, date, machine: '2 × CPU', runsCount: 5, result: { ...RESULT, ...result } };
}

test('the document has the cases in their order, each with its command, day, machine, targets and tables', () => {
  const report = renderReport({ second: recordOf('second'), first: recordOf('first') }, ['first', 'second', 'third']);
  assert.ok(report.indexOf('## Case first') < report.indexOf('## Case second'));
  assert.doesNotMatch(report, /third/);
  assert.match(report, /`BENCH_RUNS=5 npm run bench -- first`, 2026-01-15, 2 × CPU\./);
  assert.match(report, /\| contender \| rate \|\n\|---\|--:\|\n\| a \\\| b \| 1,234 \|\n\| c \| {2}\|/);
  assert.match(report, /- at least 2 ×: \*\*3 ×\*\*\n- at least 9 ×: \*\*4 ×\*\*, \*\*missed\*\*/);
});

test('the document begins with all targets, and each leads to its case', () => {
  const report = renderReport({ first: recordOf('first') }, ['first']);
  assert.match(report, /\| \[Case first\]\(#first\) \| at least 9 × \| 4 × \| \*\*missed\*\* \|/);
  assert.match(report, /<a id="first"><\/a>/);
});

test('a case that is measured anew replaces its own part only, with its plots', () => {
  const folder = temporaryFolder('record');
  // What an earlier version of the benchmark has written is no record of a case.
  writeFileSync(join(folder, 'benchmarks.json'), '{"rows":[]}');
  const plot = { title: 'P', xLabel: 'x', yLabel: 'y', xScale: 'linear', yScale: 'linear', series: [] } as const;
  const order = ['first', 'second'];
  writeRecord(folder, recordOf('second', { plots: [{ ...plot, file: 'second.svg' }] }), order);
  writeRecord(folder, recordOf('first', { plots: [{ ...plot, file: 'old.svg' }] }), order);
  writeRecord(folder, recordOf('first', { plots: [{ ...plot, file: 'new.svg' }], raw: 'anew' }), order);

  const { cases } = JSON.parse(readFileSync(join(folder, 'benchmarks.json'), 'utf8'));
  assert.deepEqual(Object.keys(cases), order);
  assert.equal(cases.first.result.raw, 'anew');
  assert.deepEqual(cases.second.result.raw, RESULT.raw);
  const report = readFileSync(join(folder, 'benchmarks.md'), 'utf8');
  assert.match(report, /!\[P\]\(plots\/new\.svg\)/);
  assert.match(report, /!\[P\]\(plots\/second\.svg\)/);
  const isThere = (file: string) => existsSync(join(folder, 'plots', file));
  assert.deepEqual(['new.svg', 'second.svg', 'old.svg'].map(isThere), [true, true, false]);
});

test('a name that no case has is refused with the names that there are', () => {
  assert.throws(() => casesNamed(['qos1', 'qos3']), /no case qos3\. There are: .*qos1/);
  assert.deepEqual(
    casesNamed(['qos0', 'qos1']).map(({ name }) => name),
    ['qos1', 'qos0'],
  );
});

test('the case that takes an hour runs only when it is named', () => {
  assert.ok(casesNamed([]).every(({ name }) => name !== 'soak'));
  assert.ok(casesNamed([]).some(({ name }) => name === 'qos1'));
  assert.deepEqual(
    casesNamed(['soak']).map(({ name }) => name),
    ['soak'],
  );
});

function standingOf(name: string, script: ContenderScript, ...perSecond: number[]): Standing {
  return { name, script, window: 1, perSecond, brokerCpuShares: [], ownCpuShares: [], foundWindows: [] };
}

test('the product is judged by the best window of the others, each by its median', () => {
  const standings = [
    standingOf('MQTT North Connector', 'product', 900, 100_000, 120_000),
    standingOf('bare loop, window 20', 'bare-loop', 150_000, 150_000, 150_000),
    standingOf('bare loop, window 50', 'bare-loop', 1, 200_000, 210_000),
    standingOf('MQTT.js, window 20', 'mqttjs', 30_000, 30_000, 300_000),
    standingOf('MQTT.js, one at a time', 'mqttjs', 10_000, 10_000, 10_000),
  ];
  assert.deepEqual(
    qosVerdicts(1, standings).map(({ measured, isMet }) => [measured.slice(0, 6), isMet]),
    [
      ['0.5 × ', false],
      ['3.33 ×', true],
      ['10 × (', true],
    ],
  );
  assert.deepEqual(
    qosVerdicts(2, standings).map(({ isMet }) => isMet),
    [false, true],
  );
  assert.deepEqual(
    qosVerdicts(0, standings).map(({ isMet }) => isMet),
    [false],
  );
});

test('what was not measured is not met', () => {
  const verdicts = [...qosVerdicts(0, []), ...qosVerdicts(1, []), ...qosVerdicts(2, []), ...roundTripVerdicts([])];
  assert.equal(verdicts.length, 12);
  assert.ok(verdicts.every(({ isMet }) => !isMet));
});

test('over a long line, the product is judged by loopback, by one at a time, and by the window that the broker allows', () => {
  const resultOf = (limit: 'none' | 'default', roundTripMs: number, script: ContenderScript, rate: number) => ({
    line: { limit, roundTripMs },
    script,
    standing: { perSecond: [rate] },
  });
  const verdicts = roundTripVerdicts([
    resultOf('none', 0, 'product', 100_000),
    ...[20, 100].flatMap((roundTripMs) => [
      resultOf('none', roundTripMs, 'product', roundTripMs === 20 ? 95_000 : 40_000),
      resultOf('none', roundTripMs, 'mqttjs', 1000 / roundTripMs),
      resultOf('default', roundTripMs, 'product', roundTripMs === 20 ? 880 : 150),
      resultOf('default', roundTripMs, 'mqttjs', 1000 / roundTripMs),
    ]),
  ]);
  assert.deepEqual(
    verdicts.map(({ isMet }) => isMet),
    [true, true, true, false, true, false],
  );
});

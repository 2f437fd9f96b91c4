import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from './tally.js';

function arrive(tally: Tally, ...seqs: number[]): void {
  for (const seq of seqs) tally.arrive(`press/alert#${seq}`);
}

test('what was accepted and has not arrived is lost, by name', () => {
  const tally = new Tally();
  tally.accept('press/alert', 4);
  arrive(tally, 0, 1, 3);
  assert.deepEqual(tally.counts(), { accepted: 4, arrived: 3, lost: 1, twice: 0 });
  assert.deepEqual(tally.lostExamples(), ['press/alert#2']);
});

test('an arrival beyond the first counts as twice, and the first one counts for the order', () => {
  const tally = new Tally();
  tally.accept('press/alert', 3);
  arrive(tally, 0, 1, 0, 1, 2);
  assert.deepEqual(tally.counts(), { accepted: 3, arrived: 3, lost: 0, twice: 2 });
  assert.deepEqual(tally.disorders, []);
  assert.deepEqual(tally.repetitions, ['press/alert#0', 'press/alert#1']);
});

test('a first arrival behind a later one of its stream is out of order; streams do not mind each other', () => {
  const tally = new Tally();
  tally.accept('press/alert', 3);
  tally.accept('press/command', 3);
  arrive(tally, 0, 2);
  tally.arrive('press/command#0');
  arrive(tally, 1);
  assert.deepEqual(tally.disorders, ['press/alert#1 arrived after press/alert#2']);
});

test('what nobody has handed in is an invention; what has no receipt yet is neither lost nor invented', () => {
  const tally = new Tally();
  tally.accept('press/alert', 1);
  tally.handIn('press/alert', 3);
  arrive(tally, 0, 1, 3);
  tally.arrive('robot/alert#0');
  assert.deepEqual(tally.inventions, ['press/alert#3', 'robot/alert#0']);
  assert.deepEqual(tally.lostExamples(), []);
  // Stored and published, with the receipt still to come: it counts as arrived, and as accepted when the receipt is there.
  assert.deepEqual(tally.counts(), { accepted: 1, arrived: 2, lost: 0, twice: 0 });
});

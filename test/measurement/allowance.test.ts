import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Allowance } from '../../src/measurement/allowance.js';

const START = 20;
const MAX = 32_768;

/** A broker and all before it, with one message taking so long alone and at most so many done a second. */
class Plant {
  nowMs = 0;
  readonly allowance = new Allowance(START, MAX, 0);
  readonly #ackMs: (underWay: number) => number;
  readonly #perSecond: (underWay: number, ackMs: number) => number;

  constructor(ackMs: (underWay: number) => number, perSecondMax: (nowMs: number) => number) {
    this.#ackMs = ackMs;
    this.#perSecond = (underWay, ms) => Math.min((underWay * 1000) / ms, perSecondMax(this.nowMs));
  }

  /** Gives the sizes of the allowance, in the order in which they came. */
  run(timeMs: number): number[] {
    const sizes = [this.allowance.size];
    for (const endMs = this.nowMs + timeMs; this.nowMs < endMs; ) {
      this.nowMs += 5;
      const { size } = this.allowance;
      const ackMs = this.#ackMs(size);
      const count = Math.round((this.#perSecond(size, ackMs) * 5) / 1000);
      this.allowance.acknowledged(count, count, count * ackMs, this.nowMs);
      if (this.allowance.size !== sizes.at(-1)) sizes.push(this.allowance.size);
    }
    return sizes;
  }
}

describe('the allowance', () => {
  test('starts small and doubles as long as each round brings more', () => {
    const plant = new Plant(
      () => 20,
      () => Number.POSITIVE_INFINITY,
    );
    assert.deepEqual(plant.run(1000).slice(0, 6), [20, 40, 80, 160, 320, 640]);
    assert.equal(plant.allowance.growth, plant.allowance.size < MAX ? 'open' : 'ended');
  });

  test('ends at its greatest size', () => {
    const plant = new Plant(
      () => 1,
      () => Number.POSITIVE_INFINITY,
    );
    plant.run(10_000);
    assert.deepEqual([plant.allowance.size, plant.allowance.growth], [MAX, 'ended']);
  });

  test('stops where more under way brings no more, and tries now and then whether that is still so', () => {
    const plant = new Plant(
      () => 20,
      (nowMs) => (nowMs < 20_000 ? 10_000 : 40_000),
    );
    const sizes = plant.run(20_000);
    // From 200 on there is no gain: two rounds show that, and a trial is one more.
    assert.deepEqual(sizes.slice(0, 9), [20, 40, 80, 160, 320, 640, 1280, 2560, 1280]);
    assert.ok(Math.max(...sizes) <= 2560, sizes.join());
    assert.equal(plant.allowance.growth, 'ended');
    const trials = sizes.filter((size, at) => size > (sizes[at - 1] ?? 0) && sizes[at + 1] === sizes[at - 1]);
    assert.ok(trials.length >= 2, `each trial is taken back: ${sizes.join()}`);
    plant.run(20_000);
    assert.ok(plant.allowance.size >= 800, `${plant.allowance.size} carry 40,000 a second`);
  });

  test('gives half back and never grows again when acknowledgements become slow', () => {
    const plant = new Plant(
      (underWay) => (underWay <= 160 ? 20 : 400),
      () => Number.POSITIVE_INFINITY,
    );
    const sizes = plant.run(60_000);
    assert.deepEqual(sizes, [20, 40, 80, 160, 320, 160]);
    assert.equal(plant.allowance.growth, 'slowed');
  });

  test('on loopback, where times are short and noisy, a slow moment is no sign of a broker that suffers', () => {
    const plant = new Plant(
      (underWay) => (underWay === 80 ? 30 : 0.2),
      () => 50_000,
    );
    plant.run(2000);
    assert.notEqual(plant.allowance.growth, 'slowed');
  });

  test('a single slow round is no sign either, but nothing grows in it', () => {
    let nowMs = 0;
    const allowance = new Allowance(START, MAX, nowMs);
    const round = (ackMs: number): number => {
      nowMs += 50;
      const count = allowance.size * 2;
      allowance.acknowledged(count, count, count * ackMs, nowMs);
      return allowance.size;
    };
    assert.deepEqual([round(1), round(500), round(1), round(500), round(1)], [40, 40, 80, 80, 160]);
    assert.equal(allowance.growth, 'open');
    assert.deepEqual([round(500), round(500), round(1)], [160, 80, 80]);
    assert.equal(allowance.growth, 'slowed');
  });

  test('a lost connection halves it for good', () => {
    const plant = new Plant(
      () => 20,
      () => Number.POSITIVE_INFINITY,
    );
    plant.run(200);
    const before = plant.allowance.size;
    plant.allowance.slowDown(plant.nowMs);
    assert.equal(plant.allowance.size, before / 2);
    assert.deepEqual(plant.run(20_000), [before / 2]);
    for (let times = 0; times < 40; times++) plant.allowance.slowDown(plant.nowMs);
    assert.equal(plant.allowance.size, 1);
  });
});

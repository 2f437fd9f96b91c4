import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RateLimit } from '../../src/session/rate-limit.js';
import { Window } from '../../src/session/window.js';

/** A link with a round trip, behind it a broker that takes so many messages per second; the sender never lacks any. */
class Link {
  readonly window: Window;
  nowMs = 0;
  roundTripMs: number;
  messagesPerSecond: number;
  #due: { sentMs: number; dueMs: number }[] = [];
  #brokerFreeMs = 0;

  constructor(window: Window, roundTripMs: number, messagesPerSecond: number) {
    this.window = window;
    this.roundTripMs = roundTripMs;
    this.messagesPerSecond = messagesPerSecond;
  }

  run(durationMs: number): number {
    const untilMs = this.nowMs + durationMs;
    let count = 0;
    while (this.nowMs < untilMs) {
      while (this.#due.length < this.window.size) {
        this.#brokerFreeMs =
          Math.max(this.#brokerFreeMs, this.nowMs + this.roundTripMs / 2) + 1000 / this.messagesPerSecond;
        this.#due.push({ sentMs: this.nowMs, dueMs: this.#brokerFreeMs + this.roundTripMs / 2 });
      }
      this.window.full();
      this.nowMs = this.#due[0]!.dueMs;
      let turnCount = 0;
      let latencySumMs = 0;
      // What arrives within a millisecond arrives in one turn.
      while (this.#due.length > 0 && this.#due[0]!.dueMs <= this.nowMs + 1) {
        latencySumMs += this.nowMs - this.#due.shift()!.sentMs;
        turnCount++;
      }
      count += turnCount;
      this.window.acknowledged(turnCount, latencySumMs, this.nowMs);
    }
    return count;
  }
}

test('the window grows with the round trip until more of it brings nothing', () => {
  for (const roundTripMs of [1, 20, 100, 500]) {
    const link = new Link(new Window(65_535), roundTripMs, 5000);
    link.run(60_000);
    const rate = link.run(10_000) / 10;
    const enough = (5000 * roundTripMs) / 1000;
    assert.ok(rate > 4000, `${rate} messages/s at ${roundTripMs} ms with a window of ${link.window.size}`);
    assert.ok(
      link.window.size <= Math.max(50, enough * 2.5),
      `${link.window.size} at ${roundTripMs} ms; ${enough} would do`,
    );
  }
});

test('a window that is large enough stays so, instead of filling queues that only add latency', () => {
  const link = new Link(new Window(65_535), 20, 1000);
  link.run(60_000);
  const early = link.window.size;
  link.run(1_200_000);
  const late = link.window.size;
  assert.ok(late <= Math.max(60, early * 2), `${early} at first, ${late} after twenty minutes`);
});

test('a window shrinks when the broker becomes slow, and grows again when it is fast', () => {
  const link = new Link(new Window(65_535), 100, 5000);
  link.run(60_000);
  const wide = link.window.size;
  link.messagesPerSecond = 200;
  link.run(300_000);
  assert.ok(link.window.size < wide, `${wide} before, ${link.window.size} after`);
  link.messagesPerSecond = 5000;
  link.run(120_000);
  assert.ok(link.run(10_000) / 10 > 4000);
});

test('the window never exceeds its limit and never falls below one', () => {
  for (const limit of [1, 2, 7, 20, 50]) {
    const window = new Window(limit);
    assert.equal(window.size, Math.min(20, limit));
    const link = new Link(window, 200, 100_000);
    for (let i = 0; i < 50; i++) {
      link.run(500);
      assert.ok(window.size <= limit && window.size >= 1);
    }
    for (let i = 0; i < 10; i++) window.halve(link.nowMs + i, link.nowMs + i);
    assert.equal(window.size, 1);
  }
  assert.equal(new Window(0).size, 1);
});

test('rounds in which the window held nothing back say nothing about it', () => {
  const window = new Window(1000);
  for (let i = 0; i < 10_000; i++) window.acknowledged(1, 5, i);
  assert.equal(window.size, 20);
});

test('a rate limit lets through its rate over time, whatever the steps', () => {
  for (const stepMs of [1, 7.3, 100]) {
    const limit = new RateLimit(100, 0);
    let count = 0;
    let nowMs = 0;
    for (; nowMs < 10_000; nowMs += stepMs) {
      limit.fill(nowMs);
      for (; limit.waitMs() === 0; count++) limit.take(50);
    }
    assert.ok(count >= 1000 && count <= 1022, `${count} in ten seconds, by ${stepMs} ms`);
  }
});

test('after the time that a rate limit asks for, there is a place', () => {
  const limit = new RateLimit(7, 1000);
  let nowMs = 0.1;
  limit.fill(nowMs);
  for (let i = 0; i < 1000; i++) {
    const waitMs = limit.waitMs();
    nowMs += waitMs;
    limit.fill(nowMs);
    assert.equal(limit.waitMs(), 0, `after ${waitMs} ms`);
    limit.take(i % 300);
  }
});

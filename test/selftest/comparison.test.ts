import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openCache } from '../../src/cache/threaded-cache.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { Comparison } from '../../src/selftest/comparison.js';
import type { CrashRunResult } from '../../src/selftest/crash-run.js';
import {
  checkKills,
  checkOrder,
  checkReceipts,
  checkRepeats,
  type Promised,
} from '../../src/selftest/delivery-checks.js';
import { type KeptMessages, NOTHING_KEPT, readKept } from '../../src/selftest/kept-messages.js';
import { messageText, readMessageText, requestCount } from '../../src/selftest/numbered-message.js';
import { append, draft, LIMITS } from '../cache/requests.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

/** A run as it was recorded: what was offered and received per lane, and the arrivals in their order. */
interface Recorded {
  offered: number;
  received: number;
  arrivals: { topic: string; text: string }[];
}

const COUNT = 40;
const EXACTLY_ONCE = { lossReason: undefined, repeatReason: undefined };
const RUN: CrashRunResult = {
  kills: 3,
  killsInStart: 1,
  receiptCount: 12,
  durabilities: [],
  isDrained: true,
  sessionsLost: 0,
  isDowngraded: false,
  isQos2Refused: false,
  quarantined: undefined,
  lastFailure: undefined,
};

function arrival(lane: Lane, number: number): { topic: string; text: string } {
  return { topic: `prefix/${lane}`, text: messageText(lane, number) };
}

/** Everything as it should be: the lanes mixed, each in its order. */
function intactRun(): Recorded {
  const arrivals = Array.from({ length: COUNT }, (_unused, number) => LANES.map((lane) => arrival(lane, number)));
  return { offered: COUNT, received: COUNT, arrivals: arrivals.flat() };
}

function compare({ offered, received, arrivals }: Recorded, kept = NOTHING_KEPT) {
  const comparison = new Comparison();
  for (const lane of LANES) {
    comparison.offered(lane, 0, offered);
    comparison.received(lane, 0, received);
  }
  for (const { topic, text } of arrivals) comparison.arrived(topic, text);
  return comparison.result(kept);
}

function indexOf(run: Recorded, lane: Lane, number: number): number {
  return run.arrivals.findIndex(({ text }) => text === messageText(lane, number));
}

function verdicts(run: Recorded, promised: Promised = EXACTLY_ONCE, kept: Partial<KeptMessages> = {}): string[] {
  const result = compare(run, { ...NOTHING_KEPT, ...kept });
  return [checkReceipts(result, promised), checkRepeats(result, promised), checkOrder(result)].map(
    ({ verdict, found }) => `${verdict} ${found}`,
  );
}

describe('the comparison of receipts with arrivals', () => {
  test('passes a run in which nothing is wrong', () => {
    const [receipts, repeats, order] = verdicts(intactRun());
    assert.match(receipts!, /^PASS 120 messages with a receipt, 120 arrived$/);
    assert.match(repeats!, /^PASS none in 120 messages$/);
    assert.match(order!, /^PASS /);
  });

  test('finds the one message that is missing, and names it', () => {
    const run = intactRun();
    run.arrivals.splice(indexOf(run, 'alert', 17), 1);
    const [receipts, repeats, order] = verdicts(run);
    assert.match(receipts!, /^FAIL .*1 are missing \(alert 17\)/);
    assert.match(repeats!, /^PASS/);
    assert.match(order!, /^PASS/);
  });

  test('does not miss what was offered and never got a receipt', () => {
    const run = intactRun();
    run.offered = COUNT + 5;
    run.arrivals.push(arrival('command', COUNT));
    assert.match(verdicts(run)[0]!, /^PASS/);
  });

  test('finds a message that arrived twice, at once or at the end', () => {
    for (const place of [20, 119]) {
      const run = intactRun();
      run.arrivals.splice(place, 0, arrival('telemetry', 3));
      const [receipts, repeats, order] = verdicts(run);
      assert.match(receipts!, /^PASS/);
      assert.match(repeats!, /^FAIL 1 message arrived again \(telemetry 3\)/);
      assert.match(order!, /^PASS/, 'a repetition is no disorder');
    }
  });

  test('finds two messages that changed places within a lane, and none in different lanes', () => {
    const run = intactRun();
    const [one, other] = [indexOf(run, 'telemetry', 8), indexOf(run, 'telemetry', 9)];
    [run.arrivals[one], run.arrivals[other]] = [run.arrivals[other]!, run.arrivals[one]!];
    assert.match(verdicts(run)[2]!, /^FAIL 1 message arrived after a later one .*telemetry 8/);
    const mixed = intactRun();
    mixed.arrivals.sort((a, b) => LANES.indexOf(laneOf(a)) - LANES.indexOf(laneOf(b)));
    assert.match(verdicts(mixed)[2]!, /^PASS/);
  });

  test('finds a changed byte, a wrong topic, and a message that nobody sent', () => {
    const changed = intactRun();
    const place = changed.arrivals.findIndex(({ text }) => text.length > 200);
    const { topic, text } = changed.arrivals[place]!;
    changed.arrivals[place] = { topic, text: `${text.slice(0, -1)}x` };
    assert.match(verdicts(changed)[0]!, /^FAIL .*1 arrived changed/);

    const moved = intactRun();
    moved.arrivals[5] = { topic: 'prefix/other', text: moved.arrivals[5]!.text };
    assert.match(verdicts(moved)[0]!, /^FAIL .*1 arrived changed \(prefix\/other: /);

    const unknown = intactRun();
    unknown.arrivals.push(arrival('alert', COUNT + 7));
    assert.match(verdicts(unknown)[0]!, /^FAIL .*1 arrived that were never sent \(alert 47\)/);

    const foreign = intactRun();
    foreign.arrivals.push({ topic: 'prefix/alert', text: 'alert 99999999999999 ' });
    assert.match(verdicts(foreign)[0]!, /^FAIL .*1 arrived changed/);
  });

  test('what the broker does not allow to promise is a warning with its reason, and never hides a real fault', () => {
    const twice = intactRun();
    twice.arrivals.push(arrival('alert', 1));
    const downgraded = { lossReason: undefined, repeatReason: 'this broker grants QoS 1' };
    assert.match(verdicts(twice, downgraded)[1]!, /^WARN .*this broker grants QoS 1/);
    assert.match(verdicts(intactRun(), downgraded)[1]!, /^PASS .*although they are permitted/);

    const lost = intactRun();
    lost.arrivals.splice(10, 1);
    assert.match(verdicts(lost, downgraded)[0]!, /^FAIL/, 'at least once permits no loss');
    assert.match(verdicts(lost, { lossReason: 'this broker grants QoS 0', repeatReason: '' })[0]!, /^WARN .*QoS 0/);
    assert.equal(checkKills({ ...RUN, isDrained: false }).verdict, 'FAIL');
  });

  test('a receipt is kept only by the very message in the cache, and not by another one that is there', () => {
    const missing = intactRun();
    missing.arrivals.splice(indexOf(missing, 'alert', 7), 1);
    const kept = new Set(['alert 7', 'alert 8']);
    assert.match(
      verdicts(missing, EXACTLY_ONCE, { waiting: kept })[0]!,
      /^WARN .*1 wait in the cache \(alert 7\).*stopped taking/,
    );
    assert.match(verdicts(missing, EXACTLY_ONCE, { quarantined: kept })[0]!, /^PASS .*1 are in quarantine \(alert 7\)/);
    // As many are there as are missing, but other ones: these have arrived as well, or had no receipt.
    const others = new Set(['alert 6', 'telemetry 7', 'alert 40']);
    for (const place of [{ waiting: others }, { quarantined: others }, { waiting: others, quarantined: others }]) {
      assert.match(verdicts(missing, EXACTLY_ONCE, place)[0]!, /^FAIL .*1 are missing \(alert 7\)/);
    }
    missing.arrivals.splice(indexOf(missing, 'command', 3), 1);
    assert.match(
      verdicts(missing, EXACTLY_ONCE, { quarantined: kept })[0]!,
      /^FAIL .*1 are missing \(command 3\)/,
      'one more than quarantine holds',
    );
  });

  test('what a cache holds is named by the bytes of its records', async (t) => {
    const cache = await openCache({ folder: temporaryFolder('kept'), limits: LIMITS });
    t.after(() => cache.close());
    const quarantined = [
      draft('alert', messageText('alert', 4), 't'),
      draft('alert', messageText('telemetry', 9), 't'),
    ];
    await cache.append({ ...append('telemetry', [messageText('telemetry', 0), 'changed']), quarantined });
    await cache.append(append('command', [messageText('command', 2)]));
    assert.deepEqual(await readKept(cache), {
      quarantined: new Set(['alert 4']),
      waiting: new Set(['telemetry 0', 'command 2']),
    });
  });

  test('a message says all about itself, and a request is the same when it is made again', () => {
    for (const lane of LANES) {
      for (let number = 0; number < 500; number++) {
        const text = messageText(lane, number);
        assert.deepEqual(readMessageText(text), { lane, number });
        assert.equal(readMessageText(`${text} `), undefined);
        assert.equal(requestCount(lane, number), requestCount(lane, number));
        assert.ok(requestCount(lane, number) >= 1);
      }
    }
    assert.equal(readMessageText(''), undefined);
    assert.equal(readMessageText(messageText('alert', 3).replace('alert', 'alarm')), undefined);
  });
});

function laneOf({ topic }: { topic: string }): Lane {
  return topic.slice(topic.indexOf('/') + 1) as Lane;
}

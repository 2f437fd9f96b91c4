import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import type { AcceptanceRate } from '../../src/measurement/acceptance-rate.js';
import type { Distribution } from '../../src/measurement/distribution.js';
import { type Limit, type LimitFacts, limitOf } from '../../src/measurement/limit.js';
import type { Load } from '../../src/measurement/machine-load.js';
import type { Throughput } from '../../src/measurement/throughput.js';

const IDLE: Load = { mainThread: 0.3, processCores: 0.4, machine: 0.5 };
const ACCEPTANCE: AcceptanceRate = {
  perSecond: 200_000,
  requestMessages: 1000,
  requestsAtOnce: 4,
  accepted: 50_000,
  single: undefined,
  load: IDLE,
};
const STEP: Throughput = {
  qos: 1,
  accepted: 50_000,
  acknowledged: 50_000,
  isConfirmed: true,
  elapsedSeconds: 1,
  perSecond: 20_000,
  window: 100,
  inflight: 98,
  exchangeMs: 1,
  allowance: 1280,
  growth: 'ended',
  load: IDLE,
  losses: 0,
  warnings: [],
  failure: undefined,
};

function alone(medianMs: number): Distribution {
  return { count: 100, medianMs, p99Ms: medianMs * 2, meanMs: medianMs };
}

function judge(step: Partial<Throughput>, facts: Partial<LimitFacts> = {}): Limit {
  const limit = limitOf({
    throughput: { ...STEP, ...step },
    acceptance: ACCEPTANCE,
    alone: alone(0.2),
    syncMs: 1,
    receiveMaximum: undefined,
    rate: undefined,
    isBrokerHere: false,
    coresCount: 4,
    ...facts,
  });
  assert.ok(limit !== undefined);
  return limit;
}

describe('what limits', () => {
  test('is unknown when nothing was acknowledged, and the given rate when that was reached', () => {
    assert.equal(
      limitOf({
        throughput: { ...STEP, perSecond: undefined },
        acceptance: undefined,
        alone: undefined,
        syncMs: undefined,
        receiveMaximum: undefined,
        rate: undefined,
        isBrokerHere: false,
        coresCount: 1,
      }),
      undefined,
    );
    assert.equal(judge({ perSecond: 96 }, { rate: 100 }).kind, 'rate');
    assert.notEqual(judge({ perSecond: 50 }, { rate: 100 }).kind, 'rate');
  });

  test('is the network where the window of the broker is full and each message takes the time of its way', () => {
    const far = { perSecond: 195, window: 20, inflight: 19, exchangeMs: 102 };
    const limit = judge(far, { alone: alone(100), receiveMaximum: 20 });
    assert.equal(limit.kind, 'network');
    assert.match(
      limit.text,
      /it lets 20 messages be in flight, and each takes 102 ms, alone 100 ms: 196 a second at most/,
    );
    assert.match(limit.remedy ?? '', /Receive Maximum/);
    const slow = judge({ ...far, exchangeMs: 900 }, { alone: alone(100), receiveMaximum: 20 });
    assert.equal(slow.kind, 'broker', 'nine times as long as alone is not the way');
    const unlimited = judge(far, { alone: alone(100) });
    assert.equal(unlimited.kind, 'network', 'a larger window brought nothing');
    assert.doesNotMatch(unlimited.text, /it lets/);
  });

  test('is the disk where each QoS 2 message waits for its sync within the window of the broker', () => {
    const step = { qos: 2, perSecond: 5000, window: 20, inflight: 18, exchangeMs: 4 } as const;
    assert.equal(judge(step, { receiveMaximum: 20, syncMs: 2 }).kind, 'disk');
    assert.match(judge(step, { receiveMaximum: 20, syncMs: 2 }).text, /PUBREC is stored/);
    assert.notEqual(judge({ ...step, qos: 1 }, { receiveMaximum: 20, syncMs: 2 }).kind, 'disk');
    assert.notEqual(judge(step, { receiveMaximum: 20, syncMs: 0.01 }).kind, 'disk');
  });

  test('is this machine where its cores or the main thread are busy', () => {
    const busy = judge({ load: { mainThread: 0.5, processCores: 1, machine: 0.97 } }, { isBrokerHere: true });
    assert.equal(busy.kind, 'machine');
    assert.match(
      busy.text,
      /97 % of its 4 cores are in use, of which this process takes 25 %; the broker runs here, too/,
    );
    const thread = judge({ load: { mainThread: 0.97, processCores: 1.2, machine: 0.4 } });
    assert.equal(thread.kind, 'machine');
    assert.match(thread.text, /main thread of this process is 97 % busy/);
    assert.equal(judge({ load: { mainThread: 0.97, processCores: 1.2, machine: undefined } }).kind, 'machine');
  });

  test('is the disk where no more is accepted, unless acceptance itself needs the whole thread', () => {
    assert.equal(judge({ perSecond: 180_000 }).kind, 'disk');
    const acceptance = { ...ACCEPTANCE, load: { ...IDLE, mainThread: 0.98 } };
    assert.equal(judge({ perSecond: 180_000 }, { acceptance }).kind, 'machine');
  });

  test('is not seen where it still became faster at the end', () => {
    const limit = judge({ growth: 'open' });
    assert.equal(limit.kind, 'amount');
    assert.match(limit.remedy ?? '', /--messages/);
  });

  test('is the broker where its acknowledgements take far longer than alone, or became slow, or the connection was lost', () => {
    assert.equal(judge({ exchangeMs: 5 }).kind, 'broker');
    assert.match(judge({ exchangeMs: 5 }).text, /takes 5 ms under load, alone 0\.2 ms/);
    assert.match(judge({ growth: 'slowed', exchangeMs: 700 }).text, /became slow; they took 700 ms in the end/);
    assert.match(judge({ growth: 'slowed', losses: 1 }).text, /connection was lost once/);
    assert.equal(judge({ exchangeMs: 0.3 }).kind, 'unknown');
    const failure = new NorthError('ACK_OVERDUE', 'Nothing came.');
    assert.match(judge({ failure, acknowledged: 400 }).text, /stopped acknowledging after 400 messages/);
  });

  test('is the broker, and not a machine that others keep busy, where acknowledgements take very long', () => {
    const load = { mainThread: 0.1, processCores: 0.2, machine: 0.99 };
    assert.equal(judge({ exchangeMs: 200, load }).kind, 'broker');
    assert.match(judge({ exchangeMs: 200, load }).text, /all that runs here takes 99 % of the machine/);
    assert.equal(judge({ exchangeMs: 20, load }).kind, 'machine');
    assert.equal(judge({ exchangeMs: 200, load: { ...load, mainThread: 0.8 } }).kind, 'machine');
  });
});

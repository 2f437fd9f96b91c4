import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBrokerUrl } from '../../src/config/broker-url.js';
import { type Attempt, Reconnect, type ReconnectOptions } from '../../src/connector/reconnect.js';

const BROKERS = ['mqtt://one:1', 'mqtt://two:2'].map(parseBrokerUrl);
const [ONE] = BROKERS;
assert.ok(ONE !== undefined);

function openReconnect(options: Partial<ReconnectOptions> = {}, random = () => 1): Reconnect {
  const defaults = {
    brokers: [ONE!],
    protocolVersion: '5',
    reconnectPeriodMs: 1000,
    reconnectPeriodMaxMs: 1000,
  } as const;
  return new Reconnect({ ...defaults, ...options }, random);
}

/** The times from the beginning of one attempt to the next, when each fails after so long. */
function periodsOf(reconnect: Reconnect, count: number, failsAfterMs = 10): number[] {
  let nowMs = 5000;
  return Array.from({ length: count }, () => {
    const startMs = nowMs;
    reconnect.begin(nowMs);
    nowMs = reconnect.failed('BROKER_REFUSED', nowMs + failsAfterMs);
    return nowMs - startMs;
  });
}

test('the period is measured from the beginning of one attempt to the next, and stays for ever', () => {
  const reconnect = openReconnect();
  assert.deepEqual(new Set(periodsOf(reconnect, 1000)), new Set([1000]));
  assert.equal(reconnect.failures, 1000);
});

test('an attempt that takes longer than the period is followed by the next at once', () => {
  assert.deepEqual(periodsOf(openReconnect(), 3, 1500), [1500, 1500, 1500]);
});

test('with a larger maximum the period grows up to it, and begins anew after a success', () => {
  const reconnect = openReconnect({ reconnectPeriodMaxMs: 5000 });
  assert.deepEqual(periodsOf(reconnect, 7).map(Math.round), [1000, 1600, 2560, 4096, 5000, 5000, 5000]);
  reconnect.succeeded(reconnect.begin(100_000));
  assert.equal(reconnect.failures, 0);
  assert.equal(reconnect.lost('CONNECTION_LOST', 200_000), 200_000);
  assert.deepEqual(periodsOf(reconnect, 2).map(Math.round), [1000, 1600]);
});

test('the jitter takes away up to a quarter, and never goes below the period', () => {
  const least = openReconnect({ reconnectPeriodMaxMs: 5000 }, () => 0);
  assert.deepEqual(periodsOf(least, 6).map(Math.round), [1000, 1200, 1920, 3072, 3750, 3750]);
  const slightly = openReconnect({ reconnectPeriodMs: 1000, reconnectPeriodMaxMs: 1100 }, () => 0);
  assert.deepEqual(periodsOf(slightly, 4), [1000, 1000, 1000, 1000]);
});

test('after hours of failures the period is still a finite number', () => {
  const reconnect = openReconnect({ reconnectPeriodMaxMs: 3_600_000 });
  assert.equal(periodsOf(reconnect, 5000).at(-1), 3_600_000);
});

test('a lost connection is dialled again at the end of the period that began with its dial', () => {
  const reconnect = openReconnect();
  const attempt = reconnect.begin(1000);
  reconnect.succeeded(attempt);
  assert.equal(reconnect.lost('CONNECTION_LOST', 1200), 2000, 'a connection that dies at once makes no storm');
  assert.equal(reconnect.lost('CONNECTION_LOST', 90_000), 90_000, 'a long one is dialled again at once');
});

test('an attempt walks through all brokers at once, and the period is between the walks', () => {
  const reconnect = openReconnect({ brokers: BROKERS });
  for (let walk = 0; walk < 3; walk++) {
    const startMs = walk * 1000;
    assert.equal(reconnect.begin(startMs).broker.host, 'one');
    assert.equal(reconnect.failed('BROKER_REFUSED', startMs + 100), startMs + 100);
    assert.equal(reconnect.begin(startMs + 100).broker.host, 'two');
    assert.equal(reconnect.failed('BROKER_REFUSED', startMs + 200), startMs + 1000);
  }
  assert.equal(reconnect.failures, 3);
  reconnect.begin(3000);
  reconnect.failed('BROKER_REFUSED', 3100);
  reconnect.succeeded(reconnect.begin(3100));
  reconnect.lost('CONNECTION_LOST', 9000);
  assert.equal(reconnect.begin(9000).broker.host, 'one', 'the first broker is preferred again');
});

test('who took over our client id is left alone for long', () => {
  const reconnect = openReconnect();
  reconnect.succeeded(reconnect.begin(0));
  assert.equal(reconnect.lost('CLIENT_ID_TAKEN', 5000), 35_000);
  const slow = openReconnect({ reconnectPeriodMs: 20_000, reconnectPeriodMaxMs: 20_000 });
  slow.succeeded(slow.begin(0));
  assert.equal(slow.lost('CLIENT_ID_TAKEN', 5000), 65_000);
});

function versionsOf(
  reconnect: Reconnect,
  codes: readonly ('BROKER_VERSION' | 'BROKER_CLOSED' | 'BROKER_REFUSED')[],
): number[] {
  return codes.map((code) => {
    const attempt = reconnect.begin(0);
    if (!reconnect.fallsBack(attempt, code)) reconnect.failed(code, 0);
    return attempt.protocolVersion;
  });
}

test('the old version is tried within the same attempt when the broker may not know MQTT 5', () => {
  assert.deepEqual(
    versionsOf(openReconnect({ protocolVersion: 'auto' }), [
      'BROKER_VERSION',
      'BROKER_VERSION',
      'BROKER_CLOSED',
      'BROKER_REFUSED',
      'BROKER_REFUSED',
    ]),
    [5, 4, 5, 4, 5],
  );
  assert.deepEqual(versionsOf(openReconnect(), ['BROKER_VERSION', 'BROKER_VERSION']), [5, 5]);
  assert.deepEqual(
    versionsOf(openReconnect({ protocolVersion: '3.1.1' }), ['BROKER_VERSION', 'BROKER_CLOSED']),
    [4, 4],
  );
});

function succeedIn(reconnect: Reconnect, protocolVersion: 4 | 5): void {
  let attempt: Attempt = reconnect.begin(0);
  if (protocolVersion === 4) {
    assert.ok(reconnect.fallsBack(attempt, 'BROKER_VERSION'));
    attempt = reconnect.begin(0);
  }
  assert.equal(attempt.protocolVersion, protocolVersion);
  reconnect.succeeded(attempt);
  reconnect.lost('CONNECTION_LOST', 0);
}

test('the version that a broker speaks is remembered', () => {
  const reconnect = openReconnect({ protocolVersion: 'auto' });
  succeedIn(reconnect, 4);
  assert.equal(reconnect.begin(0).protocolVersion, 4);
});

test('a broker that has spoken MQTT 5 and closes now is not asked in the old version', () => {
  const reconnect = openReconnect({ protocolVersion: 'auto' });
  succeedIn(reconnect, 5);
  // A broker that is being restarted, or the load balancer in front of it, closes for a while.
  assert.equal(reconnect.fallsBack(reconnect.begin(0), 'BROKER_CLOSED'), false);
  assert.equal(reconnect.fallsBack(reconnect.begin(0), 'BROKER_VERSION'), true, 'it was replaced by an older one');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConnectorState } from '../../src/connector/connector.js';
import { sumOfStates } from '../../src/connector/shared-status.js';

function sum(...states: readonly (readonly [ConnectorState, string])[]): [ConnectorState, string] {
  const parts = states.map(([state, description], index) => ({ number: index + 1, state, description }));
  const { state, description } = sumOfStates(parts);
  return [state, description];
}

const online = ['online', 'online with b, at least once'] as const;
const waiting = ['waiting', 'reconnecting to b in 5 s: refused'] as const;
const stopped = ['stopped', 'stopped'] as const;

test('the state of all connections is the worst one, with how many are online', () => {
  assert.deepEqual(sum(online, online), ['online', '2 connections online with b, at least once']);
  assert.deepEqual(sum(online, online, waiting, online), [
    'waiting',
    '3 of 4 connections online; connection 3: reconnecting to b in 5 s: refused',
  ]);
  assert.deepEqual(sum(waiting, waiting), ['waiting', '2 connections reconnecting to b in 5 s: refused']);
  assert.deepEqual(sum(['dialing', 'dialing b'], waiting, online), [
    'waiting',
    '1 of 3 connections online; connection 2: reconnecting to b in 5 s: refused; 1 more not online',
  ]);
  assert.deepEqual(sum(online, ['failed', 'failed: disk'], waiting), [
    'failed',
    '1 of 3 connections online; connection 2: failed: disk; 1 more not online',
  ]);
  assert.deepEqual(sum(online, ['recovering', 'online with b, sending again what is in doubt']), [
    'recovering',
    '1 of 2 connections online; connection 2: online with b, sending again what is in doubt',
  ]);
});

test('the state while it starts, stops and is stopped', () => {
  assert.deepEqual(sum(stopped, stopped), ['stopped', 'stopped']);
  assert.deepEqual(sum(['stopped', 'disabled'], ['stopped', 'disabled']), ['stopped', 'disabled']);
  assert.equal(sum(stopped, ['dialing', 'dialing b'])[0], 'dialing');
  assert.equal(sum(['draining', 'stopping'], stopped, stopped)[0], 'draining');
});

test('one connection is described as it is', () => {
  assert.deepEqual(sum(online), [...online]);
});

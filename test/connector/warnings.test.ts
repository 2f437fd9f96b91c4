import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ConnectorInput, connectorSchema } from '../../src/config/connector.js';
import type { Grant } from '../../src/connector/connector.js';
import type { ConnectionGrant } from '../../src/connector/link-state.js';
import { Warnings } from '../../src/connector/warnings.js';

const BASIC = { type: 'basic', username: 'ann', password: 's3cret' } as const;

function openWarnings(settings: ConnectorInput['settings']): { warnings: Warnings; told: string[] } {
  const told: string[] = [];
  const config = connectorSchema.parse({ id: 'subject', settings });
  return { warnings: new Warnings(config, (code, message) => told.push(`${code} ${message}`)), told };
}

function reviewed(settings: ConnectorInput['settings']): readonly string[] {
  const { warnings } = openWarnings(settings);
  warnings.reviewSettings(Date.now());
  return warnings.current();
}

test('a broker elsewhere without authentication is a warning that it is not for production', () => {
  const [warning, ...others] = reviewed({ url: 'mqtts://broker.example.com' });
  assert.match(
    warning ?? '',
    /setting url leads to another machine, and authentication\.type is none\. Not for production/,
  );
  assert.deepEqual(others, []);
});

test('a password in plain text to a broker elsewhere is a warning that does not repeat it', () => {
  for (const url of ['mqtt://broker.example.com', 'tcp://192.0.2.1', 'ws://broker.example.com/mqtt']) {
    const [warning, ...others] = reviewed({ url, authentication: BASIC });
    assert.match(warning ?? '', /sends the password to another machine unencrypted\. Not for production/, url);
    assert.doesNotMatch(warning ?? '', /s3cret/);
    assert.deepEqual(others, []);
  }
});

test('on this machine, and with a password over TLS, there is nothing to warn of', () => {
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.1.2.3']) {
    assert.deepEqual(reviewed({ url: `mqtt://${host}` }), []);
    assert.deepEqual(reviewed({ url: `mqtt://${host}`, authentication: BASIC }), []);
  }
  assert.deepEqual(reviewed({ url: 'mqtts://broker.example.com', authentication: BASIC }), []);
  assert.deepEqual(reviewed({ url: 'wss://broker.example.com/mqtt', authentication: BASIC }), []);
});

test('each broker of the list is looked at', () => {
  const found = reviewed({ url: 'mqtt://localhost', brokers: ['mqtt://one.example', 'mqtts://two.example'] });
  assert.equal(found.length, 2);
  assert.match(found[0] ?? '', /setting brokers\.0 /);
  assert.match(found[1] ?? '', /setting brokers\.1 /);
});

test('a warning is told once, however often the settings are reviewed', () => {
  const { warnings, told } = openWarnings({ url: 'mqtts://broker.example.com' });
  for (let i = 0; i < 3; i++) warnings.reviewSettings(Date.now());
  assert.equal(told.length, 1);
  assert.match(told[0] ?? '', /^AUTHENTICATION_MISSING /);
});

const GRANT: Grant = {
  broker: 'mqtt://localhost:1883',
  protocolVersion: 5,
  sessionPresent: false,
  clientId: 'c',
  maximumQos: 2,
  receiveMaximum: 65_535,
  maximumPacketSizeBytes: undefined,
  retainAvailable: true,
  topicAliasMaximum: 0,
  keepaliveSeconds: 60,
  sessionExpirySeconds: undefined,
};

function connection(grant: Grant, isSessionLost = false): ConnectionGrant {
  return {
    grant: { ...grant, serverKeepaliveSeconds: undefined, assignedClientId: undefined },
    protocolVersion: 5,
    isSessionLost,
    isInDoubt: false,
    // Only what the transport found in the broker's certificate is looked at, and there is none.
    attempt: { broker: { ...ANY_BROKER }, protocolVersion: 5 },
    opened: undefined,
  };
}

const ANY_BROKER = {
  scheme: 'mqtt',
  secure: false,
  websocket: false,
  host: 'localhost',
  port: 1883,
  path: '',
  display: 'mqtt://localhost:1883',
} as const;

function reviewGrant(warnings: Warnings, grant: Partial<Grant>, isSessionLost = false): void {
  const granted = { ...GRANT, ...grant };
  warnings.reviewConnection(connection(granted, isSessionLost), granted, Date.now());
}

test('what a connection shows is replaced by what the next one shows', () => {
  const { warnings, told } = openWarnings({ url: 'mqtt://localhost', qos: 2, retain: true });
  reviewGrant(warnings, { maximumQos: 1, retainAvailable: false });
  assert.match(warnings.current().join(' | '), /grants QoS 1; 2 was asked for.* \| .*no retained messages/);
  reviewGrant(warnings, {}, true);
  assert.deepEqual(warnings.current(), ['The broker had lost our session; what was in doubt is sent again.']);
  reviewGrant(warnings, {});
  assert.deepEqual(warnings.current(), []);
  assert.deepEqual(
    told.map((text) => text.split(' ')[0]),
    ['DELIVERY_DOWNGRADED', 'RETAIN_UNAVAILABLE', 'SESSION_LOST'],
  );
});

test('what came up during a connection is over with it, and a flood of it is bounded', () => {
  const { warnings, told } = openWarnings({ url: 'mqtts://broker.example.com' });
  warnings.reviewSettings(Date.now());
  reviewGrant(warnings, {});
  for (let i = 0; i < 100_000; i++) warnings.raise('PUBLISH_NOT_AUTHORIZED', `The broker refuses "a/${i}".`);
  assert.ok(warnings.current().length <= 110, `${warnings.current().length} warnings`);
  assert.ok(told.length <= 110, `${told.length} told`);
  assert.match(warnings.current().at(-1) ?? '', /further/i);
  reviewGrant(warnings, {});
  assert.equal(warnings.current().length, 1, 'the warning about the settings stays');
});

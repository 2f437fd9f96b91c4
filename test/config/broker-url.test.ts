import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isLoopback, isThisMachine, parseBrokerUrl } from '../../src/config/broker-url.js';
import { NorthError } from '../../src/core/error.js';

function refusal(text: string): NorthError {
  try {
    parseBrokerUrl(text);
  } catch (error) {
    if (error instanceof NorthError) return error;
    throw error;
  }
  throw new Error(`${text} was accepted.`);
}

test('each scheme has its transport and its default port', () => {
  const ports = ['mqtt', 'tcp', 'mqtts', 'ssl', 'tls', 'ws', 'wss'].map((scheme) => {
    const { secure, websocket, port } = parseBrokerUrl(`${scheme}://broker.example.com`);
    return [scheme, secure, websocket, port];
  });
  assert.deepEqual(ports, [
    ['mqtt', false, false, 1883],
    ['tcp', false, false, 1883],
    ['mqtts', true, false, 8883],
    ['ssl', true, false, 8883],
    ['tls', true, false, 8883],
    ['ws', false, true, 80],
    ['wss', true, true, 443],
  ]);
});

test('names, IPv4 and bracketed IPv6 addresses are taken with and without a port', () => {
  const parsed = (text: string) => {
    const { host, port, display } = parseBrokerUrl(text);
    return [host, port, display];
  };
  assert.deepEqual(parsed('mqtt://localhost'), ['localhost', 1883, 'mqtt://localhost:1883']);
  assert.deepEqual(parsed('MQTT://Broker.Example.com:11883/'), [
    'broker.example.com',
    11883,
    'mqtt://broker.example.com:11883',
  ]);
  assert.deepEqual(parsed('mqtt://10.1.2.3:1'), ['10.1.2.3', 1, 'mqtt://10.1.2.3:1']);
  assert.deepEqual(parsed('mqtts://[::1]:65535'), ['::1', 65535, 'mqtts://[::1]:65535']);
  assert.deepEqual(parsed('mqtts://[fe80::1%eth0]'), ['fe80::1%eth0', 8883, 'mqtts://[fe80::1%eth0]:8883']);
  assert.deepEqual(parsed('mqtt://my_broker'), ['my_broker', 1883, 'mqtt://my_broker:1883']);
  assert.deepEqual(parsed('mqtt://bücher.example'), [
    'xn--bcher-kva.example',
    1883,
    'mqtt://xn--bcher-kva.example:1883',
  ]);
});

test('a websocket has a path, /mqtt when none is given, and its query is not shown', () => {
  assert.equal(parseBrokerUrl('ws://host').path, '/mqtt');
  assert.equal(parseBrokerUrl('ws://host/').path, '/');
  const signed = parseBrokerUrl('wss://host:444/a/b?X-Amz-Signature=abc');
  assert.equal(signed.path, '/a/b?X-Amz-Signature=abc');
  assert.equal(signed.display, 'wss://host:444/a/b');
  assert.equal(parseBrokerUrl('ws://host/a@b').path, '/a@b');
});

for (const text of [
  '',
  ' mqtt://host',
  'broker.example.com',
  'broker:1883',
  'http://host',
  'mqtt:/host',
  'mqtt://',
  'mqtt://:1883',
  'mqtt://host:',
  'mqtt://host:0',
  'mqtt://host:65536',
  'mqtt://host:18 83',
  'mqtt://host:1e3',
  'mqtt://300.1.1.1',
  'mqtt://1.2.3',
  'mqtt://::1',
  'mqtt://[::1',
  'mqtt://[host]',
  'mqtt://ho st',
  'mqtt://-host',
  'mqtt://a..b',
  'mqtt://host/path',
  'mqtt://host?x=1',
  'mqtt://host#x',
  'ws://host/pa th',
  'ws://host/\n',
  `mqtt://${'a.'.repeat(200)}b`,
]) {
  test(`the URL ${JSON.stringify(text.slice(0, 40))} is refused with a remedy`, () => {
    const error = refusal(text);
    assert.equal(error.code, 'BROKER_URL_INVALID');
    assert.notEqual(error.remedy, '');
  });
}

for (const text of [
  'mqtt://user:hunter2@host',
  'mqtt://user:hunter2@host:1883/path',
  'mqtt://hunter2@host',
  'mqtt://user:hun/ter2@host',
  'mqtt://user:hun#ter2@host',
  'mqtt://user:hun?ter2@host',
  'mqtts://user:hunter2@[::1]:8883',
  'ws://user:hunter2@host/mqtt',
  'hunter2://user:hunter2@host',
  'user:hunter2@host',
]) {
  test(`credentials in ${text} are refused, point to authentication, and are not repeated`, () => {
    const error = refusal(text);
    assert.match(error.message, /user name or password/);
    assert.match(error.remedy, /authentication/);
    assert.doesNotMatch(JSON.stringify(error), /hun.?ter2/);
  });
}

test('whatever the text is, it is parsed or refused with BROKER_URL_INVALID and nothing of it is repeated', () => {
  const part = fc.string({ minLength: 6, maxLength: 12, unit: fc.constantFrom(...'QXZ019%@:/?#[]. ') });
  fc.assert(
    fc.property(fc.constantFrom('mqtt://', 'ws://', ''), part, fc.constantFrom('', '@host', ':1883'), (a, b, c) => {
      try {
        const url = parseBrokerUrl(a + b + c);
        assert.deepEqual(parseBrokerUrl(url.display).host, url.host);
      } catch (error) {
        assert.ok(error instanceof NorthError && error.code === 'BROKER_URL_INVALID', String(error));
        assert.ok(!error.message.includes(b) && !error.remedy.includes(b));
      }
    }),
    { numRuns: 2000 },
  );
});

test('a space before or after the URL is told as such', () => {
  for (const text of [' mqtt://host', 'mqtt://host ', 'mqtt://host\n']) assert.match(refusal(text).message, /space/);
});

test('loopback names and addresses are this machine, others are not', () => {
  for (const host of ['localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) {
    assert.ok(isLoopback(host) && isThisMachine(host), host);
  }
  for (const host of ['localhost.example.com', '128.0.0.1', '0.0.0.0', '::', '10.0.0.1', '127.example.com']) {
    assert.ok(!isLoopback(host), host);
  }
  assert.ok(!isThisMachine('broker.example.com'));
});

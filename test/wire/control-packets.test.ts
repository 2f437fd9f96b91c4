import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { IConnackPacket } from 'mqtt-packet';
import mqttPacket from 'mqtt-packet';
import type { QoS } from '../../src/core/message.js';
import {
  type ConnectOptions,
  connackProblem,
  encodeConnect,
  encodeDisconnect,
  grantOf,
  PINGREQ,
  writePubrel,
} from '../../src/wire/control-packets.js';
import { parsePackets } from './parse.js';
import { readChunks } from './reading.js';

const anyText = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
const anyConnect: fc.Arbitrary<ConnectOptions> = fc.record({
  protocolVersion: fc.constantFrom<4 | 5>(4, 5),
  clientId: anyText,
  cleanStart: fc.boolean(),
  sessionExpirySeconds: fc.constantFrom(0, 1, 86_400, 4_294_967_295),
  keepaliveSeconds: fc.constantFrom(0, 1, 60, 65_535),
  username: fc.option(anyText, { nil: undefined }),
  password: fc.option(anyText, { nil: undefined }),
  will: fc.option(
    fc.record({
      topic: anyText,
      payload: fc.uint8Array({ maxLength: 200 }),
      qos: fc.constantFrom<QoS>(0, 1, 2),
      retain: fc.boolean(),
      delaySeconds: fc.constantFrom(0, 30),
    }),
    { nil: undefined },
  ),
});

test('a CONNECT is read back with everything that was asked for', () => {
  fc.assert(
    fc.property(anyConnect, (options) => {
      // A password needs a user name under MQTT 3.1.1 [MQTT-3.1.2-22]; the configuration sees to that.
      fc.pre(options.password === undefined || options.username !== undefined);
      const [packet] = parsePackets(encodeConnect(options), options.protocolVersion);
      assert.ok(packet?.cmd === 'connect');
      assert.equal(packet.protocolId, 'MQTT');
      assert.equal(packet.protocolVersion, options.protocolVersion);
      assert.equal(packet.clientId, options.clientId);
      assert.equal(packet.clean, options.cleanStart);
      assert.equal(packet.keepalive, options.keepaliveSeconds);
      assert.equal(packet.username, options.username);
      assert.equal(packet.password?.toString(), options.password);
      const isVersion5 = options.protocolVersion === 5;
      assert.equal(packet.properties?.sessionExpiryInterval, isVersion5 ? options.sessionExpirySeconds : undefined);
      if (options.will === undefined) {
        assert.equal(packet.will, undefined);
        return;
      }
      const { will } = packet;
      assert.ok(will !== undefined);
      assert.equal(will.topic, options.will.topic);
      assert.deepEqual(Buffer.from(will.payload), Buffer.from(options.will.payload));
      assert.equal(will.qos, options.will.qos);
      assert.equal(will.retain, options.will.retain);
      const delay = isVersion5 && options.will.delaySeconds > 0 ? options.will.delaySeconds : undefined;
      assert.equal(will.properties?.willDelayInterval, delay);
    }),
    { numRuns: 500 },
  );
});

test('a DISCONNECT has its reason code under MQTT 5 and no body under 3.1.1', () => {
  assert.deepEqual(encodeDisconnect(4), Buffer.from([0xe0, 0]));
  const [packet] = parsePackets(encodeDisconnect(5, 4), 5);
  assert.ok(packet?.cmd === 'disconnect');
  assert.equal(packet.reasonCode, 4);
});

test('a PUBREL of any identifier is read back, with its reason code when it has one', () => {
  for (const id of [1, 255, 256, 65_535]) {
    for (const reasonCode of [0, 0x92]) {
      const out = Buffer.alloc(8, 0xee);
      const end = writePubrel(out, 1, id, reasonCode);
      assert.equal(out[end], 0xee);
      const [packet] = parsePackets(out.subarray(1, end), 5);
      assert.ok(packet?.cmd === 'pubrel');
      assert.equal(packet.messageId, id);
      assert.equal(packet.reasonCode, reasonCode);
    }
  }
});

test('a PINGREQ is two bytes', () => {
  assert.equal(parsePackets(Buffer.from(PINGREQ), 4)[0]?.cmd, 'pingreq');
});

function connackOf(protocolVersion: 4 | 5, packet: Partial<IConnackPacket>): IConnackPacket {
  const bytes = mqttPacket.generate(
    {
      cmd: 'connack',
      sessionPresent: false,
      ...(protocolVersion === 5 ? { reasonCode: 0 } : { returnCode: 0 }),
      ...packet,
    },
    { protocolVersion },
  );
  return firstConnack(protocolVersion, bytes);
}

function firstConnack(protocolVersion: 4 | 5, bytes: Buffer): IConnackPacket {
  const [read] = readChunks(protocolVersion, [bytes]).reads;
  assert.ok(read?.kind === 'packet' && read.packet.cmd === 'connack');
  return read.packet;
}

test('what a CONNACK leaves out has the default of the specification', () => {
  for (const protocolVersion of [4, 5] as const) {
    const packet = connackOf(protocolVersion, { sessionPresent: true });
    assert.equal(connackProblem(packet), undefined);
    assert.deepEqual(grantOf(packet), {
      sessionPresent: true,
      maximumQos: 2,
      receiveMaximum: 65_535,
      maximumPacketSizeBytes: undefined,
      retainAvailable: true,
      topicAliasMaximum: 0,
      serverKeepaliveSeconds: undefined,
      assignedClientId: undefined,
      sessionExpirySeconds: undefined,
    });
  }
});

test('everything that a CONNACK grants is read', () => {
  const packet = connackOf(5, {
    properties: {
      maximumQoS: 0,
      receiveMaximum: 1,
      maximumPacketSize: 4_294_967_295,
      retainAvailable: false,
      topicAliasMaximum: 10,
      serverKeepAlive: 0,
      assignedClientIdentifier: 'given',
      sessionExpiryInterval: 4_294_967_295,
    },
  });
  assert.equal(connackProblem(packet), undefined);
  assert.deepEqual(grantOf(packet), {
    sessionPresent: false,
    maximumQos: 0,
    receiveMaximum: 1,
    maximumPacketSizeBytes: 4_294_967_295,
    retainAvailable: false,
    topicAliasMaximum: 10,
    serverKeepaliveSeconds: 0,
    assignedClientId: 'given',
    sessionExpirySeconds: 4_294_967_295,
  });
});

test('a CONNACK with a limit that is zero, given twice or cut off is a protocol error, not a limit', () => {
  const cases: Record<string, number[]> = {
    'Receive Maximum 0': [0x21, 0, 0],
    'Receive Maximum twice': [0x21, 0, 10, 0x21, 0, 20],
    'Receive Maximum cut off': [0x21, 0],
    'Maximum Packet Size 0': [0x27, 0, 0, 0, 0],
    'Maximum Packet Size twice': [0x27, 0, 0, 1, 0, 0x27, 0, 0, 2, 0],
    'Maximum Packet Size cut off': [0x27, 0, 0, 1],
    'Maximum QoS twice': [0x24, 1, 0x24, 1],
    'Retain Available twice': [0x25, 1, 0x25, 0],
    'Server Keep Alive twice': [0x13, 0, 10, 0x13, 0, 20],
    'Assigned Client Identifier cut off': [0x12, 0, 5, 0x61],
    'Assigned Client Identifier twice': [0x12, 0, 1, 0x61, 0x12, 0, 1, 0x62],
    'Session Expiry Interval twice': [0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 2],
    'Topic Alias Maximum twice': [0x22, 0, 1, 0x22, 0, 2],
  };
  for (const [name, properties] of Object.entries(cases)) {
    const bytes = Buffer.from([0x20, 3 + properties.length, 0, 0, properties.length, ...properties]);
    const [read] = readChunks(5, [bytes]).reads;
    if (read?.kind === 'malformed' && name.endsWith('cut off')) continue;
    assert.ok(read?.kind === 'packet' && read.packet.cmd === 'connack', name);
    assert.match(connackProblem(read.packet) ?? 'none', new RegExp(name.replace(/ (0|twice|cut off)$/, '')), name);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { INCOMING_PACKET_SIZE_MAX_BYTES, PUBACK, PUBCOMP, PUBREC } from '../../src/wire/packet-reader.js';
import { openReading, type Read, readChunks } from './reading.js';

function acknowledged(type: typeof PUBACK | typeof PUBREC | typeof PUBCOMP, id: number, code = 0, text?: string): Read {
  return { kind: 'acknowledged', type, id, code, text };
}

const LONG_TEXT = 'not today, '.repeat(20);

/** Packets, and what must be read from them; other packets are compared by their command and main fields. */
const CASES: Readonly<Record<4 | 5, readonly { packet: Packet; read: Read | string }[]>> = {
  4: [
    { packet: { cmd: 'connack', returnCode: 0, sessionPresent: true }, read: 'connack' },
    { packet: { cmd: 'puback', messageId: 1 }, read: acknowledged(PUBACK, 1) },
    { packet: { cmd: 'pubrec', messageId: 65_535 }, read: acknowledged(PUBREC, 65_535) },
    { packet: { cmd: 'pubcomp', messageId: 256 }, read: acknowledged(PUBCOMP, 256) },
    { packet: { cmd: 'pingresp' }, read: 'pingresp' },
  ],
  5: [
    {
      packet: {
        cmd: 'connack',
        reasonCode: 0,
        sessionPresent: false,
        properties: { receiveMaximum: 20, assignedClientIdentifier: 'x'.repeat(130), userProperties: { a: 'b' } },
      },
      read: 'connack',
    },
    { packet: { cmd: 'puback', messageId: 2 }, read: acknowledged(PUBACK, 2) },
    { packet: { cmd: 'puback', messageId: 3, reasonCode: 0x10 }, read: acknowledged(PUBACK, 3, 0x10) },
    { packet: { cmd: 'puback', messageId: 4, reasonCode: 0x97 }, read: acknowledged(PUBACK, 4, 0x97) },
    {
      packet: { cmd: 'puback', messageId: 5, reasonCode: 0x87, properties: { reasonString: 'acl' } },
      read: acknowledged(PUBACK, 5, 0x87, 'acl'),
    },
    {
      packet: { cmd: 'puback', messageId: 6, reasonCode: 0x10, properties: { reasonString: 'nobody' } },
      read: acknowledged(PUBACK, 6, 0x10),
    },
    {
      packet: { cmd: 'pubrec', messageId: 7, reasonCode: 0x80, properties: { userProperties: { why: 'x' } } },
      read: acknowledged(PUBREC, 7, 0x80),
    },
    {
      packet: { cmd: 'pubrec', messageId: 8, reasonCode: 0x99, properties: { reasonString: LONG_TEXT } },
      read: acknowledged(PUBREC, 8, 0x99, LONG_TEXT),
    },
    { packet: { cmd: 'pubcomp', messageId: 9 }, read: acknowledged(PUBCOMP, 9) },
    {
      packet: { cmd: 'pubcomp', messageId: 10, reasonCode: 0x92, properties: { reasonString: 'gone' } },
      read: acknowledged(PUBCOMP, 10, 0x92, 'gone'),
    },
    { packet: { cmd: 'pingresp' }, read: 'pingresp' },
    {
      packet: { cmd: 'disconnect', reasonCode: 0x8e, properties: { reasonString: 'taken over' } },
      read: 'disconnect',
    },
  ],
};

function generate(packet: Packet, protocolVersion: 4 | 5): Buffer {
  return mqttPacket.generate(packet, { protocolVersion });
}

function assertReads(reads: readonly Read[], cases: readonly { packet: Packet; read: Read | string }[]): void {
  assert.equal(reads.length, cases.length);
  for (const [i, { packet, read }] of cases.entries()) {
    const got = reads[i]!;
    if (typeof read !== 'string') {
      assert.deepEqual(got, read);
      continue;
    }
    assert.ok(got.kind === 'packet');
    assert.equal(got.packet.cmd, read);
    if (packet.cmd !== 'connack' && packet.cmd !== 'disconnect') continue;
    assert.ok(got.packet.cmd === packet.cmd);
    assert.equal(got.packet.reasonCode, packet.reasonCode);
    assert.equal(JSON.stringify(got.packet.properties), JSON.stringify(packet.properties));
    if (packet.cmd === 'connack')
      assert.equal('sessionPresent' in got.packet && got.packet.sessionPresent, packet.sessionPresent);
  }
}

for (const protocolVersion of [4, 5] as const) {
  const cases = CASES[protocolVersion];
  const stream = Buffer.concat(cases.map(({ packet }) => generate(packet, protocolVersion)));

  test(`each packet is read alone and all of them in one piece (version ${protocolVersion})`, () => {
    for (const one of cases) {
      assertReads(readChunks(protocolVersion, [generate(one.packet, protocolVersion)]).reads, [one]);
    }
    assertReads(readChunks(protocolVersion, [stream]).reads, cases);
  });

  test(`every split of the bytes in two, and byte by byte, reads the same (version ${protocolVersion})`, () => {
    for (let at = 0; at <= stream.length; at++) {
      assertReads(readChunks(protocolVersion, [stream.subarray(0, at), stream.subarray(at)]).reads, cases);
    }
    const bytes = Array.from(stream, (_, i) => stream.subarray(i, i + 1));
    assertReads(readChunks(protocolVersion, bytes).reads, cases);
  });

  test(`a packet is reported as soon as its last byte has come (version ${protocolVersion})`, () => {
    const reading = openReading(protocolVersion);
    let at = 0;
    for (const [i, { packet }] of cases.entries()) {
      const size = generate(packet, protocolVersion).length;
      reading.reader.read(Buffer.from(stream.subarray(at, at + size - 1)));
      assert.equal(reading.reads.length, i);
      reading.reader.read(Buffer.from(stream.subarray(at + size - 1, at + size)));
      assert.equal(reading.reads.length, i + 1);
      at += size;
    }
  });
}

test('a refusal in the old form, from a broker that does not know MQTT 5, is read as such', () => {
  const bytes = generate({ cmd: 'connack', returnCode: 1, sessionPresent: false }, 4);
  for (let at = 0; at <= bytes.length; at++) {
    const { reads } = readChunks(5, [bytes.subarray(0, at), bytes.subarray(at)]);
    const [read] = reads;
    assert.ok(reads.length === 1 && read?.kind === 'packet' && read.packet.cmd === 'connack');
    assert.equal(read.packet.returnCode, 1);
    assert.equal(read.packet.reasonCode, undefined);
  }
});

test('an acknowledgement whose length takes more bytes than needed is read', () => {
  const { reads } = readChunks(5, [
    Buffer.from([0x40, 0x82, 0x00, 0x12, 0x34]),
    Buffer.from([0x50, 0x82, 0x80, 0x00, 1, 2]),
  ]);
  assert.deepEqual(reads, [acknowledged(PUBACK, 0x1234), acknowledged(PUBREC, 0x0102)]);
});

test('an acknowledgement whose properties are damaged is still an acknowledgement', () => {
  for (const properties of [
    [0xff],
    [0xff, 0xff, 0xff, 0xff],
    [0x03, 0x1f, 0x00, 0x40],
    [0x02, 0x1f, 0x00],
    [0x05, 0x26, 0x00, 0x09, 0x61, 0x62],
    [0x01, 0x00],
    [0x7f, 0x1f],
  ]) {
    const bytes = Buffer.from([0x40, 3 + properties.length, 0, 9, 0x87, ...properties]);
    assert.deepEqual(readChunks(5, [bytes]).reads, [acknowledged(PUBACK, 9, 0x87)], JSON.stringify(properties));
  }
});

test('what cannot be MQTT is reported once and nothing after it is read', () => {
  const after = generate({ cmd: 'pingresp' }, 5);
  const cases: Record<string, number[]> = {
    'a length of five bytes': [0x40, 0x80, 0x80, 0x80, 0x80, 0x01],
    'an acknowledgement without an identifier': [0x40, 0x01, 0x00],
    'an acknowledgement without a body': [0x70, 0x00],
    'the reserved type 0': [0x00, 0x02, 0x00, 0x00],
    'a CONNACK with reserved flags': [0x20, 0x03, 0x02, 0x00, 0x00],
    'a CONNACK without a body': [0x20, 0x00],
    'a CONNACK without a code': [0x20, 0x01, 0x00],
    'an answer in HTTP': [...Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    'an acknowledgement of the identifier 0': [0x40, 0x02, 0x00, 0x00],
    'a long acknowledgement of the identifier 0': [0x50, 0x03, 0x00, 0x00, 0x10],
  };
  for (const protocolVersion of [4, 5] as const) {
    for (const [name, bytes] of Object.entries(cases)) {
      const { reads } = readChunks(protocolVersion, [Buffer.concat([Buffer.from(bytes), after]), after, after]);
      assert.deepEqual(reads, [{ kind: 'malformed' }], name);
    }
  }
});

test('a packet that is longer than anything we ask for is refused when it is announced, not when it has come', () => {
  const announce = (length: number): Buffer =>
    Buffer.from([
      0x30,
      (length & 0x7f) | 0x80,
      ((length >> 7) & 0x7f) | 0x80,
      ((length >> 14) & 0x7f) | 0x80,
      length >> 21,
    ]);
  assert.deepEqual(readChunks(5, [announce(INCOMING_PACKET_SIZE_MAX_BYTES + 1)]).reads, [{ kind: 'malformed' }]);
  assert.deepEqual(readChunks(5, [announce(INCOMING_PACKET_SIZE_MAX_BYTES)]).reads, []);
});

test('a large packet that comes in small pieces is put together once, not once per piece', (t) => {
  const payload = Buffer.alloc(256 * 1024, 7);
  const bytes = generate({ cmd: 'publish', topic: 't', payload, qos: 0, dup: false, retain: false }, 5);
  const { reader, reads } = openReading(5);
  let copiedSizeBytes = 0;
  const count = (size: number): void => {
    copiedSizeBytes += size;
  };
  // Both ways in which bytes can be put together are counted, because a time would depend on the machine.
  t.mock.method(Buffer, 'allocUnsafe', (size: number) => {
    count(size);
    return Buffer.alloc(size);
  });
  t.mock.method(Buffer, 'concat', (list: readonly Uint8Array[]) => {
    for (const part of list) count(part.length);
    return Buffer.from(list.flatMap((part) => [...part]));
  });
  for (let at = 0; at < bytes.length; at += 1000) reader.read(bytes.subarray(at, at + 1000));
  t.mock.restoreAll();
  assert.equal(reads.length, 1);
  assert.ok(copiedSizeBytes < 4 * bytes.length, `${copiedSizeBytes} bytes were copied for ${bytes.length}`);
});

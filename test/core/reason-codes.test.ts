import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatReasonCode,
  REASON_ENTRIES,
  RETURN_CODES,
  reasonEntry,
  reasonName,
} from '../../src/core/reason-codes.js';

/** The table of MQTT 5.0 §2.4: code, and the packets that may carry it. */
const SPECIFICATION: Readonly<Record<number, string>> = {
  0: 'CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH',
  1: 'SUBACK',
  2: 'SUBACK',
  4: 'DISCONNECT',
  16: 'PUBACK PUBREC',
  17: 'UNSUBACK',
  24: 'AUTH',
  25: 'AUTH',
  128: 'CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT',
  129: 'CONNACK DISCONNECT',
  130: 'CONNACK DISCONNECT',
  131: 'CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT',
  132: 'CONNACK',
  133: 'CONNACK',
  134: 'CONNACK',
  135: 'CONNACK PUBACK PUBREC SUBACK UNSUBACK DISCONNECT',
  136: 'CONNACK',
  137: 'CONNACK DISCONNECT',
  138: 'CONNACK',
  139: 'DISCONNECT',
  140: 'CONNACK DISCONNECT',
  141: 'DISCONNECT',
  142: 'DISCONNECT',
  143: 'SUBACK UNSUBACK DISCONNECT',
  144: 'CONNACK PUBACK PUBREC DISCONNECT',
  145: 'PUBACK PUBREC SUBACK UNSUBACK',
  146: 'PUBREL PUBCOMP',
  147: 'DISCONNECT',
  148: 'DISCONNECT',
  149: 'CONNACK DISCONNECT',
  150: 'DISCONNECT',
  151: 'CONNACK PUBACK PUBREC SUBACK DISCONNECT',
  152: 'DISCONNECT',
  153: 'CONNACK PUBACK PUBREC DISCONNECT',
  154: 'CONNACK DISCONNECT',
  155: 'CONNACK DISCONNECT',
  156: 'CONNACK DISCONNECT',
  157: 'CONNACK DISCONNECT',
  158: 'SUBACK DISCONNECT',
  159: 'CONNACK DISCONNECT',
  160: 'DISCONNECT',
  161: 'SUBACK DISCONNECT',
  162: 'SUBACK DISCONNECT',
};

test('every reason code of MQTT 5 is there, for the packets that may carry it', () => {
  const table = REASON_ENTRIES.map(({ code, packets }) => [code, [...packets.keys()].sort().join(' ')]);
  const expected = Object.entries(SPECIFICATION).map(([code, packets]) => [
    Number(code),
    packets.split(' ').sort().join(' '),
  ]);
  assert.deepEqual(table, expected);
});

test('each has a name of its own, and a meaning and a remedy for each packet', () => {
  assert.equal(new Set(REASON_ENTRIES.map(({ name }) => name)).size, REASON_ENTRIES.length);
  for (const { code, packets } of REASON_ENTRIES) {
    for (const [packet, { meaning, remedy }] of packets) {
      assert.match(meaning, /^[A-Z].*\.$/, `${code} in ${packet}`);
      assert.match(remedy, /^[A-Z].*\.$/, `${code} in ${packet}`);
    }
  }
});

test('names and forms are given for any number', () => {
  assert.equal(reasonName(0x87), 'not authorized');
  assert.equal(reasonName(0x7f), 'unknown reason');
  assert.equal(reasonEntry(0x7f), undefined);
  assert.equal(formatReasonCode(4), '0x04');
  assert.equal(formatReasonCode(0xa2), '0xA2');
});

test('each return code of MQTT 3.1.1 refers to a reason that a CONNACK may carry', () => {
  assert.deepEqual([...RETURN_CODES.keys()], [0, 1, 2, 3, 4, 5]);
  for (const { reasonCode } of RETURN_CODES.values()) assert.ok(reasonEntry(reasonCode)?.packets.has('CONNACK'));
});

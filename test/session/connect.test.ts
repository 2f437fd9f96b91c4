import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IConnackPacket } from 'mqtt-packet';
import { Stage } from './stage.js';

const IDENTITY = { broker: 'broker:1883', clientId: 'stage' };

test('a lasting session never begins with a clean start: under 3.1.1 it would end, and Mosquitto would not save it', () => {
  for (const protocolVersion of [4, 5] as const) {
    const stage = new Stage({ protocolVersion });
    assert.equal(stage.connect().clean, false);
    stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0, returnCode: 0 });
    assert.equal(stage.session.state, 'online');
    assert.deepEqual(stage.cache.identity, IDENTITY);
    stage.lose();
    assert.equal(stage.connect().clean, false);
    stage.lose();
    stage.crash();
    assert.equal(stage.connect().clean, false);
  }
});

test('a session that the broker kept from an unknown life is wiped out before anything is sent', () => {
  for (const protocolVersion of [4, 5] as const) {
    const stage = new Stage({ protocolVersion });
    stage.accept('telemetry', 3, { qos: 2 });
    const connack: IConnackPacket = { cmd: 'connack', sessionPresent: true, returnCode: 0, reasonCode: 0 };
    stage.connect();
    stage.answer(connack);
    assert.equal(stage.session.state, 'offline');
    assert.ok(stage.sent().every(({ cmd }) => cmd === 'disconnect'));
    const wipe = stage.connect();
    assert.equal(wipe.clean, true);
    if (protocolVersion === 5) assert.equal(wipe.properties?.sessionExpiryInterval, 0);
    stage.answer({ ...connack, sessionPresent: false });
    assert.equal(stage.session.state, 'offline', 'the wiping connection is over');
    assert.deepEqual(stage.publishedKeys(), []);
    assert.equal(stage.connect().clean, false);
    stage.answer({ ...connack, sessionPresent: false });
    assert.deepEqual(stage.publishedKeys(), ['t0', 't1', 't2']);
  }
});

test('a 3.1.1 broker that says Session Present whenever no clean session was asked for is believed only once', () => {
  const stage = new Stage({ protocolVersion: 4 });
  stage.accept('telemetry', 2);
  const connack = (sessionPresent: boolean): IConnackPacket => ({ cmd: 'connack', sessionPresent, returnCode: 0 });
  const cleans = [stage.connect().clean];
  stage.answer(connack(true));
  cleans.push(stage.connect().clean);
  stage.answer(connack(false));
  cleans.push(stage.connect().clean);
  stage.answer(connack(true));
  assert.deepEqual(cleans, [false, true, false], 'what was there is wiped out once');
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t1']);
  assert.equal(stage.reports('granted').at(-1)?.grant.sessionPresent, false);
  stage.lose();
  assert.equal(stage.connect().clean, false);
  stage.answer(connack(true));
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0 dup', 'PUBLISH t1 dup']);
});

test('a broker that keeps a session in spite of a clean start is in breach of the protocol', () => {
  const stage = new Stage({ persistent: false });
  stage.connect();
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});

test('what another broker, or the same one for another client id, has kept is wiped out', () => {
  const known = { ...IDENTITY, clientId: 'former' };
  for (const [identity, broker] of [
    [IDENTITY, 'other:1883'],
    [known, 'broker:1883'],
  ] as const) {
    const stage = new Stage({ identity });
    stage.connect(broker);
    stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
    assert.equal(stage.connect(broker).clean, true);
  }
  const stage = new Stage({ identity: IDENTITY });
  stage.online({ sessionPresent: true });
  assert.equal(stage.session.state, 'online');
});

test('a session is not wiped out before it is on disk that it is given up', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online({}, 'A');
  stage.lose();
  stage.isHoldingSaves = true;
  stage.online({}, 'B');
  stage.lose();
  stage.connect('A');
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  stage.sent();
  stage.session.connected('A', 5, stage.nowMs);
  assert.deepEqual(stage.sent(), []);
  stage.isHoldingSaves = false;
  stage.flush();
  assert.ok(stage.sent().some((packet) => packet.cmd === 'connect' && packet.clean));
});

test('what is in doubt at one broker is sent to the next one again, without DUP, and counted', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 4, { qos: 2 });
  stage.acknowledge('pubrec', ['t0', 't1']);
  stage.acknowledge('pubcomp', ['t0']);
  stage.lose();
  stage.sent();
  stage.online({}, 'other:1883');
  assert.deepEqual(stage.sentWords(), ['PUBLISH t1', 'PUBLISH t2', 'PUBLISH t3']);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 3);
  assert.deepEqual(stage.cache.identity, { ...IDENTITY, broker: 'other:1883' });
});

test('a session that does not last ends with its connection and stores no identity', () => {
  const stage = new Stage({ persistent: false });
  assert.equal(stage.connect().properties?.sessionExpiryInterval, 0);
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
  stage.accept('telemetry', 2);
  stage.lose();
  assert.equal(stage.cache.identity, undefined);
  assert.equal(stage.connect().clean, true);
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
  assert.deepEqual(stage.sentWords(), ['PUBLISH t0', 'PUBLISH t1']);
  assert.equal(stage.session.countsOf('telemetry').possibleDuplicates, 2);
});

test('an identity that was stored is forgotten when the session does not last any more', () => {
  const stage = new Stage({ persistent: false, identity: IDENTITY });
  stage.online();
  assert.equal(stage.cache.identity, undefined);
});

test('the client id that the broker assigned is the one that is stored', () => {
  const stage = new Stage({ clientId: '' });
  stage.online({ properties: { assignedClientIdentifier: 'given' } });
  assert.equal(stage.cache.identity?.clientId, 'given');
});

test('a refusal ends the connection with its reason, also in the old form', () => {
  const stage = new Stage({});
  stage.connect();
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0x86 });
  assert.equal(stage.endCode(), 'BROKER_AUTHENTICATION');
  stage.connect();
  stage.receive(Buffer.from([0x20, 2, 0, 1]));
  assert.equal(stage.endCode(), 'BROKER_VERSION');
});

test('a limit of zero in the CONNACK is a breach of the protocol and sends nothing to quarantine', () => {
  for (const properties of [{ maximumPacketSize: 0 }, { receiveMaximum: 0 }]) {
    const stage = new Stage({});
    stage.accept('telemetry', 2);
    stage.online({ properties });
    assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
    assert.equal(stage.cache.quarantine.size, 0);
  }
});

test('what is no MQTT is told apart from what breaks the protocol later', () => {
  const stage = new Stage({});
  stage.connect();
  stage.receive(Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n'));
  assert.equal(stage.endCode(), 'BROKER_NOT_MQTT');
  stage.online();
  stage.receive(Buffer.from([0x00, 0x00]));
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});

test('an acknowledgement or a ping before the CONNACK, and a second CONNACK, break the protocol', () => {
  const stage = new Stage({});
  stage.connect();
  stage.answer({ cmd: 'puback', messageId: 8192, reasonCode: 0 });
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
  stage.connect();
  stage.answer({ cmd: 'pingresp' });
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
  stage.online();
  stage.answer({ cmd: 'connack', sessionPresent: false, reasonCode: 0 });
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
});

test('a client id that someone else has taken is named as the cause', () => {
  const stage = new Stage({});
  stage.online();
  stage.answer({ cmd: 'disconnect', reasonCode: 0x8e });
  assert.equal(stage.endCode(), 'CLIENT_ID_TAKEN');
});

test('what comes after a breach of the protocol is ignored, and nothing is written any more', () => {
  const stage = new Stage({});
  stage.online();
  stage.accept('telemetry', 2);
  stage.sent();
  stage.answer(
    { cmd: 'pubrec', messageId: 8192, reasonCode: 0 },
    { cmd: 'puback', messageId: 8193, reasonCode: 0 },
    { cmd: 'pubrec', messageId: 77, reasonCode: 0 },
  );
  assert.equal(stage.endCode(), 'BROKER_PROTOCOL');
  assert.deepEqual(stage.sent(), []);
  assert.equal(stage.session.countsOf('telemetry').published, 0);
});

test('a session that is closed before its CONNECT could be sent says nothing', () => {
  const stage = new Stage({});
  stage.accept('telemetry', 2, { qos: 2 });
  stage.online({}, 'A');
  stage.lose();
  stage.isHoldingSaves = true;
  stage.online({}, 'B');
  stage.lose();
  stage.connect('A');
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  stage.session.connected('A', 5, stage.nowMs);
  stage.sent();
  stage.session.drain(stage.nowMs, stage.wallMs);
  assert.deepEqual(stage.sent(), []);
});

test('what is to be wiped out at one broker is not wiped out at another', () => {
  const stage = new Stage({ identity: { broker: 'A', clientId: 'stage' } });
  stage.connect('B');
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  assert.equal(stage.connect('A').clean, false);
  stage.answer({ cmd: 'connack', sessionPresent: true, reasonCode: 0 });
  assert.equal(stage.session.state, 'online');
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LANES, type Lane, laneIndex } from '../../src/core/lane.js';
import { decodeProperties } from '../../src/core/properties.js';
import { readRecord } from '../../src/core/record.js';
import { joinTopic, topicProblem } from '../../src/core/topic.js';
import { Collector, type MessageDefaults } from '../../src/transform/collector.js';

const DEFAULTS: MessageDefaults = { qos: 1, retain: false, expirySeconds: 0, topicPrefix: '', userProperties: [] };

function read(record: Uint8Array, at = 0) {
  const view = readRecord(record, at);
  assert.ok(view !== undefined);
  return {
    topic: Buffer.from(view.topic).toString(),
    payload: Buffer.from(view.payload).toString(),
    qos: view.qos,
    retain: view.retain,
    expirySeconds: view.expirySeconds,
    properties: decodeProperties(view.properties),
    sizeBytes: view.sizeBytes,
  };
}

function messagesOf(collector: Collector, lane: Lane = 'telemetry') {
  const batch = collector.batches.builders[laneIndex(lane)]?.finish() ?? Buffer.alloc(0);
  const messages: ReturnType<typeof read>[] = [];
  for (let at = 0; at < batch.length; at += messages.at(-1)!.sizeBytes) messages.push(read(batch, at));
  return messages;
}

describe('collector', () => {
  it('what a draft leaves out comes from the connection', () => {
    const defaults: MessageDefaults = { ...DEFAULTS, qos: 2, retain: true, expirySeconds: 60 };
    const collector = new Collector({ ...defaults, userProperties: [['site', 'lyon']] });
    collector.push(0, { topic: 'a', payload: 'x' });
    const { qos, retain, expirySeconds, properties } = messagesOf(collector)[0]!;
    assert.deepEqual([qos, retain, expirySeconds], [2, true, 60]);
    assert.deepEqual(properties, { userProperties: [['site', 'lyon']] });
  });

  it('what a draft says comes first, and its lane decides where it waits', () => {
    const collector = new Collector({ ...DEFAULTS, qos: 2, retain: true, expirySeconds: 60 });
    collector.push(0, { topic: 'a', payload: 'x', qos: 0, retain: false, expirySeconds: 5, lane: 'alert' });
    collector.push(1, { topic: 'b', payload: 'y', lane: 'command' });
    const { qos, retain, expirySeconds } = messagesOf(collector, 'alert')[0]!;
    assert.deepEqual([qos, retain, expirySeconds], [0, false, 5]);
    assert.equal(messagesOf(collector, 'command')[0]?.topic, 'b');
    assert.deepEqual(messagesOf(collector, 'telemetry'), []);
    assert.equal(collector.batches.count, 2);
  });

  it('user properties of the message join those of the connection, and win where the name is the same', () => {
    const collector = new Collector({
      ...DEFAULTS,
      userProperties: [
        ['site', 'lyon'],
        ['line', '1'],
      ],
    });
    collector.push(0, { topic: 'a', payload: 'x', properties: { contentType: 't', userProperties: [['line', '2']] } });
    collector.push(1, { topic: 'a', payload: 'x', properties: { contentType: 'u' } });
    collector.push(2, { topic: 'a', payload: 'x' });
    assert.deepEqual(
      messagesOf(collector).map(({ properties }) => properties),
      [
        {
          contentType: 't',
          userProperties: [
            ['site', 'lyon'],
            ['line', '2'],
          ],
        },
        {
          contentType: 'u',
          userProperties: [
            ['site', 'lyon'],
            ['line', '1'],
          ],
        },
        {
          userProperties: [
            ['site', 'lyon'],
            ['line', '1'],
          ],
        },
      ],
    );
  });

  it('exactly one slash joins the prefix and the topic', () => {
    for (const [prefix, topic, joined] of [
      ['', '/a', '/a'],
      ['site', 'a', 'site/a'],
      ['site/', 'a', 'site/a'],
      ['site', '/a', 'site/a'],
      ['site//', '//a/', 'site/a/'],
      ['/site', 'a', '/site/a'],
      ['/', 'a', '/a'],
    ] as const) {
      assert.equal(joinTopic(prefix, topic), joined);
      const collector = new Collector({ ...DEFAULTS, topicPrefix: prefix });
      collector.push(0, { topic, payload: '' });
      assert.equal(messagesOf(collector)[0]?.topic, joined);
    }
  });

  for (const [what, topic, reason] of [
    ['with +', 'a/+/b', /wildcard "\+" at position 2/],
    ['with #', 'a/#', /wildcard "#"/],
    ['with NUL', 'a\0', /NUL/],
    ['that is empty', '', /empty/],
    ['with half a surrogate pair', '\ud800', /surrogate/],
    ['that is too long', 'é'.repeat(32_768), /65536 bytes long/],
    ['with a line end', 'a\r', /U\+000D at position 1/],
    ['with a non-character', 'ab\ufffe', /U\+FFFE at position 2/],
  ] as const) {
    it(`a topic ${what} puts the message into quarantine with its payload`, () => {
      const collector = new Collector({ ...DEFAULTS, userProperties: [['a', 'b']] });
      collector.push(4, { topic, payload: 'kept', lane: 'alert', qos: 2, retain: true });
      assert.equal(collector.batches.count, 0);
      const [entry] = collector.quarantined;
      assert.deepEqual([entry?.code, entry?.lane], ['TOPIC_INVALID', 'alert']);
      assert.match(entry!.reason, reason);
      const { payload, qos, retain, properties } = read(entry!.record);
      assert.deepEqual([payload, qos, retain, properties], ['kept', 2, true, { userProperties: [['a', 'b']] }]);
    });
  }

  it('every character is judged as topicProblem judges it', () => {
    for (
      let code = 0;
      code <= 0x10ffff;
      code += code < 0x3000 || (code & 0xffff) > 0xfdc0 || code >> 11 === 27 ? 1 : 97
    ) {
      const topic = `a${String.fromCodePoint(code)}`;
      const collector = new Collector(DEFAULTS);
      collector.push(0, { topic, payload: '' });
      assert.equal(collector.quarantined.length === 1, topicProblem(topic) !== undefined, code.toString(16));
    }
  });

  it('an empty topic stays empty under a prefix', () => {
    const collector = new Collector({ ...DEFAULTS, topicPrefix: 'site' });
    collector.push(0, { topic: '', payload: '' });
    assert.equal(collector.quarantined[0]?.code, 'TOPIC_INVALID');
  });

  it('the topic stands in the quarantine as it would have been sent, where it can be stored', () => {
    const collector = new Collector({ ...DEFAULTS, topicPrefix: 'site' });
    collector.push(0, { topic: 'a/+', payload: '' });
    collector.quarantine(1, 'UNMAPPED', 'why', { payload: 'p' });
    collector.push(2, { topic: 'half\ud800', payload: '' });
    collector.push(3, { topic: 'x'.repeat(65_535), payload: '' });
    assert.deepEqual(
      collector.quarantined.map(({ record }) => read(record).topic),
      ['site/a/+', '', '', ''],
    );
    assert.equal(collector.quarantined[1]?.reason, 'why');
  });

  it('a leading $ is refused where the content made it, and nowhere else', () => {
    const collector = new Collector(DEFAULTS);
    collector.push(0, { topic: '$SYS/x', payload: '', isTopicFromContent: true });
    collector.push(1, { topic: '$aws/rules/x', payload: '' });
    collector.push(2, { topic: 'a/$b', payload: '', isTopicFromContent: true });
    assert.deepEqual([collector.quarantined.length, collector.batches.count], [1, 2]);
    assert.match(collector.quarantined[0]!.reason, /"\$"/);
    const prefixed = new Collector({ ...DEFAULTS, topicPrefix: 'site' });
    prefixed.push(0, { topic: '$SYS/x', payload: '', isTopicFromContent: true });
    assert.equal(prefixed.batches.count, 1);
  });

  it('a payload above the limit is rejected with its size, counted in bytes', () => {
    const collector = new Collector(DEFAULTS, 10);
    collector.push(0, { topic: 'a', payload: '0123456789' });
    collector.push(1, { topic: 'a', payload: '01234567890' });
    collector.push(2, { topic: 'a', payload: 'éééééé' });
    collector.push(3, { topic: 'a', payload: new Uint8Array(11) });
    collector.quarantine(4, 'UNMAPPED', 'why', { payload: new Uint8Array(11) });
    assert.equal(collector.batches.count, 1);
    assert.deepEqual(
      collector.rejections.map(({ index, code }) => [index, code]),
      [1, 2, 3, 4].map((index) => [index, 'MESSAGE_TOO_LARGE']),
    );
    assert.match(collector.rejections[1]!.message, /12 bytes long; at most 10/);
  });

  it('a record above the limit of the cache is rejected, and the batch goes on', () => {
    const collector = new Collector(DEFAULTS);
    const huge = Array.from({ length: 4100 }, () => ['n', 'x'.repeat(65_535)] as const);
    collector.push(0, { topic: 'a', payload: 'x', properties: { userProperties: huge } });
    collector.push(1, { topic: 'b', payload: 'x' });
    assert.deepEqual(
      collector.rejections.map(({ index, code }) => [index, code]),
      [[0, 'MESSAGE_TOO_LARGE']],
    );
    assert.deepEqual(
      messagesOf(collector).map(({ topic }) => topic),
      ['b'],
    );
  });

  it('texts longer than the shared buffer are encoded, too', () => {
    const collector = new Collector(DEFAULTS);
    const payload = 'é€😀'.repeat(20_000);
    collector.push(0, { topic: 'a', payload });
    collector.push(1, { topic: 'a', payload: 'short' });
    assert.deepEqual(
      messagesOf(collector).map((message) => message.payload),
      [payload, 'short'],
    );
  });

  it('indices count from the base that is set, and reset starts anew but leaves what was handed out', () => {
    const collector = new Collector(DEFAULTS);
    collector.indexBase = 1000;
    collector.reject(3, 'ELEMENT_INVALID', 'x');
    collector.ignored(2);
    collector.push(4, { topic: 'a', payload: 'x' });
    collector.quarantine(5, 'UNMAPPED', 'why', { payload: 'p' });
    const { rejections, quarantined, batches } = collector;
    assert.deepEqual([rejections[0]?.index, collector.ignoredCount], [1003, 2]);
    assert.ok(collector.sizeBytes > 0);
    collector.reset();
    assert.equal(collector.sizeBytes, 0);
    assert.deepEqual([collector.rejections, collector.quarantined, collector.batches.count], [[], [], 0]);
    assert.equal(collector.ignoredCount, 0);
    assert.deepEqual([rejections.length, quarantined.length, batches.count], [1, 1, 1]);
  });

  it('every push ends in exactly one place, whatever the topic', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ topic: fc.string({ unit: 'binary' }), isTopicFromContent: fc.boolean() })),
        fc.string(),
        (drafts, topicPrefix) => {
          const collector = new Collector({ ...DEFAULTS, topicPrefix });
          drafts.forEach((draft, index) => {
            collector.push(index, { ...draft, payload: 'x' });
          });
          const total = collector.batches.count + collector.quarantined.length + collector.rejections.length;
          assert.equal(total, drafts.length);
          const stored = LANES.flatMap((lane) => messagesOf(collector, lane));
          for (const { topic } of stored) assert.equal(topicProblem(topic), undefined, JSON.stringify(topic));
        },
      ),
    );
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { TransformerOptions } from '../../src/config/transformers.js';
import { NorthError } from '../../src/core/error.js';
import { open, RecordingSink, run } from './recording-sink.js';

type Options = Omit<Extract<TransformerOptions, { type: 'time-values-to-mqtt' }>, 'type'>;

const TIMESTAMP = '2026-01-15T10:00:00.000Z';
const value = (pointId: unknown, data: unknown = { value: 1 }, timestamp: unknown = TIMESTAMP) => ({
  pointId,
  timestamp,
  data,
});

function transform(options: Options, ...elements: unknown[]): Promise<RecordingSink> {
  return run({ type: 'time-values-to-mqtt', ...options }, { type: 'time-values', elements });
}

describe('time values', () => {
  it('a mapped point goes to its topic with its data and timestamp as JSON', async () => {
    const mapping = [{ pointId: 'boiler/t1', topic: 'plant/boiler/temperature' }];
    const sink = await transform({ mapping }, value('boiler/t1', { value: 23.5, quality: 'good' }));
    assert.deepEqual(sink.messages, [
      `plant/boiler/temperature {"value":23.5,"quality":"good","timestamp":"${TIMESTAMP}"}`,
    ]);
  });

  it('the mapping comes before the template, and the template takes the rest', async () => {
    const mapping = [{ pointId: 'a', topic: 'mapped' }];
    const sink = await transform({ mapping, topic: 'plant/{pointId}' }, value('a'), value('b/c'));
    assert.deepEqual(
      sink.pushed.map(({ topic }) => topic),
      ['mapped', 'plant/b/c'],
    );
  });

  it('a template takes the timestamp and fields of the data, numbers and booleans included', async () => {
    const topic = "{pointId}/{data.site}/{data.line[1]}/{data['is on']}/{timestamp}";
    const sink = await transform({ topic }, value('p', { site: 'lyon', line: [1, 2], 'is on': true }));
    assert.deepEqual(
      sink.pushed.map(({ topic }) => topic),
      [`p/lyon/2/true/${TIMESTAMP}`],
    );
  });

  it('options of the mapping come before those of the transformer, and those apply to the template', async () => {
    const sink = await transform(
      {
        mapping: [{ pointId: 'a', topic: 'a', qos: 2, retain: false, lane: 'command', messageExpiry: 5 }],
        topic: '{pointId}',
        qos: 0,
        retain: true,
        lane: 'alert',
        messageExpiry: '1 min',
      },
      value('a'),
      value('b'),
    );
    const options = sink.pushed.map(({ draft: { qos, retain, lane, expirySeconds } }) => [
      qos,
      retain,
      lane,
      expirySeconds,
    ]);
    assert.deepEqual(options, [
      [2, false, 'command', 5],
      [0, true, 'alert', 60],
    ]);
  });

  it('what is not set is left to the connection', async () => {
    const sink = await transform({ topic: '{pointId}' }, value('a'));
    const { qos, retain, lane, expirySeconds } = sink.pushed[0]!.draft;
    assert.deepEqual([qos, retain, lane, expirySeconds], [undefined, undefined, undefined, undefined]);
  });

  it('a point with neither mapping nor template goes to quarantine with its payload', async () => {
    const sink = await transform({}, value('boiler/t9', { value: 7 }));
    assert.equal(sink.pushed.length, 0);
    const { code, reason, payload } = sink.quarantined[0]!;
    assert.equal(code, 'UNMAPPED');
    assert.match(reason, /"boiler\/t9" has no mapping/);
    assert.equal(payload, `{"value":7,"timestamp":"${TIMESTAMP}"}`);
  });

  for (const [what, data, reason] of [
    ['missing', {}, /\{data\.site\} of the topic is missing.*"p"/],
    ['null', { site: null }, /\{data\.site\}.* is null/],
    ['an object', { site: {} }, /\{data\.site\}.* is an object/],
    ['empty', { site: '' }, /\{data\.site\}.* is empty/],
  ] as const) {
    it(`a field of the template that is ${what} puts the value into quarantine and names the field`, async () => {
      const sink = await transform({ topic: '{data.site}/x' }, value('p', data));
      assert.deepEqual([sink.quarantined.length, sink.quarantined[0]?.code], [1, 'UNMAPPED']);
      assert.match(sink.quarantined[0]!.reason, reason);
    });
  }

  it('clean replaces what no topic may have and keeps the levels', async () => {
    const sink = await transform({ topic: '{pointId}', clean: true }, value('a/+/b#\0\n\ud800'), value('$SYS/x'));
    assert.deepEqual(
      sink.pushed.map(({ topic }) => topic),
      ['a/_/b____', '_SYS/x'],
    );
  });

  it('without clean the topic is given to the sink as it is, with the mark that the content made it', async () => {
    const sink = await transform({ topic: '{pointId}' }, value('$a/+'));
    assert.deepEqual([sink.pushed[0]!.topic, sink.pushed[0]!.draft.isTopicFromContent], ['$a/+', true]);
    const literal = await transform({ topic: '$share/{pointId}' }, value('a'));
    assert.equal(literal.pushed[0]!.draft.isTopicFromContent, false);
  });

  it('payload value sends a text bare and anything else as JSON', async () => {
    const sink = await transform(
      { topic: '{pointId}', payload: 'value' },
      value('a', { value: 'on' }),
      value('b', { value: 1.5 }),
      value('c', { value: { x: [true, null] } }),
      value('d', { value: null }),
    );
    assert.deepEqual(sink.messages, ['a on', 'b 1.5', 'c {"x":[true,null]}', 'd null']);
  });

  it('payload value without a value keeps the whole in quarantine', async () => {
    const sink = await transform({ topic: '{pointId}', payload: 'value' }, value('a', { val: 1 }));
    assert.equal(sink.quarantined[0]?.code, 'ELEMENT_INVALID');
    assert.equal(sink.quarantined[0]?.payload, `{"val":1,"timestamp":"${TIMESTAMP}"}`);
  });

  it('payload value with a text that is no Unicode rejects the element', async () => {
    const sink = await transform({ topic: '{pointId}', payload: 'value' }, value('a', { value: '\ud800' }), value('b'));
    assert.match(sink.rejected[0]!.message, /data\.value has half of a surrogate pair/);
    assert.deepEqual(sink.messages, ['b 1']);
  });

  const wrong: [string, unknown, RegExp][] = [
    ['null', null, /A time value is an object .*, not null/],
    ['a list', [], /not a list/],
    ['a text', 'x', /not "x"/],
    ['without pointId', { timestamp: TIMESTAMP, data: {} }, /^pointId is missing\.$/],
    ['with a numeric pointId', value(7), /^pointId is a text, not 7\.$/],
    ['with an empty pointId', value(''), /^pointId is empty\.$/],
    ['without timestamp', { pointId: 'a', data: {} }, /^timestamp is missing\.$/],
    ['with a numeric timestamp', value('a', {}, 1_768_471_200_000), /^timestamp is a text, not 1768471200000\.$/],
    ['with another date', value('a', {}, '15/01/2026'), /^timestamp "15\/01\/2026" is no ISO 8601/],
    ['with a day that is not', value('a', {}, '2026-02-30T10:00:00Z'), /is no ISO 8601/],
    ['without data', { pointId: 'a', timestamp: TIMESTAMP }, /^data is missing\.$/],
    ['with data as list', value('a', [1]), /^data is an object such as .*, not a list\.$/],
    ['with data as number', value('a', 5), /not 5\.$/],
    ['with data as null', value('a', null), /not null\.$/],
    ['with data as map', value('a', new Map([['value', 1]])), /not an object\.$/],
  ];
  for (const [what, element, message] of wrong) {
    it(`a time value ${what} is rejected with its index and what is wrong`, async () => {
      const sink = await transform({ topic: '{pointId}' }, value('good'), element, value('good'));
      assert.deepEqual(
        sink.rejected.map(({ index, code }) => [index, code]),
        [[1, 'ELEMENT_INVALID']],
      );
      assert.match(sink.rejected[0]!.message, message);
      assert.equal(sink.pushed.length, 2);
    });
  }

  it('data that has no JSON is rejected, and the others go on', async () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const sink = await transform({ topic: '{pointId}' }, value('a', { v: 1n }), value('b', circular), value('c'));
    assert.deepEqual(
      sink.rejected.map(({ index }) => index),
      [0, 1],
    );
    assert.equal(sink.pushed.length, 1);
  });

  it('keys beside pointId, timestamp and data do no harm', async () => {
    const sink = await transform({ topic: '{pointId}' }, { ...value('a'), unit: 'K' });
    assert.equal(sink.pushed.length, 1);
  });

  it('the payload is the JSON of the data with the timestamp in it, whatever the data are', async () => {
    const data = fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('timestamp', 'toJSON', '')), fc.jsonValue());
    const timestamp = fc.constantFrom(TIMESTAMP, '2026-01-15', '2026-01-15T10:00:00+01:00', '2026-W03-4');
    await fc.assert(
      fc.asyncProperty(data, timestamp, async (data, timestamp) => {
        const sink = await transform({ topic: 'x' }, value('p', data, timestamp));
        assert.equal(sink.pushed[0]?.payload, JSON.stringify({ ...data, timestamp }));
      }),
    );
  });

  it('data that say themselves what their JSON is are taken at their word', async () => {
    for (const json of [5, 'text', { a: 1 }, [1]]) {
      const data = { value: 1, toJSON: () => json };
      assert.equal((await transform({ topic: 'x' }, value('p', data))).pushed[0]?.payload, JSON.stringify(json));
    }
  });

  it('every element ends in exactly one place, whatever it is', async () => {
    const element = fc.oneof(
      fc.anything(),
      fc.record({ pointId: fc.string({ unit: 'binary' }), timestamp: fc.constant(TIMESTAMP), data: fc.object() }),
    );
    const options: fc.Arbitrary<Options> = fc.record({
      topic: fc.constantFrom('{pointId}', 'x/{data.a}', 'fixed'),
      payload: fc.constantFrom('json', 'value'),
      clean: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(options, fc.array(element), async (options, elements) => {
        const sink = await transform(options, ...elements);
        assert.deepEqual(
          sink.indices,
          elements.map((_, index) => index),
        );
      }),
    );
  });

  it('a long list is taken whole and in order, with others having their turn in between', async () => {
    const elements = Array.from({ length: 12_345 }, (_, index) => value(`p${index}`));
    const sink = new RecordingSink();
    const pending = open({ type: 'time-values-to-mqtt', topic: '{pointId}' }).transform(
      { type: 'time-values', elements },
      sink,
    );
    assert.ok(pending instanceof Promise);
    let othersTurnAt = 0;
    setImmediate(() => {
      othersTurnAt = sink.pushed.length;
    });
    await pending;
    assert.ok(othersTurnAt > 0 && othersTurnAt < elements.length, `the turn of others came at ${othersTurnAt}`);
    assert.deepEqual(
      sink.pushed.map(({ topic }) => topic),
      elements.map(({ pointId }) => pointId),
    );
  });

  for (const [topic, problem] of [
    ['plant/{pointid}', /no field \{pointid\}/],
    ['plant/{value}', /no field \{value\}/],
    ['plant/{data}', /no field \{data\}/],
    ['plant/{data.a[*]}', /no field/],
    ['plant/{', /"\{" at position 6 is not closed/],
    ['plant/}', /"\}" without "\{"/],
    ['plant/{}', /has no name/],
    ['plant/+/{pointId}', /wildcard "\+"/],
    ['plant/{data..a}', /path .* is wrong/],
  ] as const) {
    it(`the template ${topic} is refused when the transformer is opened`, () => {
      assert.throws(
        () => open({ type: 'time-values-to-mqtt', topic }),
        (error) => {
          assert.ok(error instanceof NorthError);
          assert.deepEqual([error.code, error.place], ['CONFIG_INVALID', 'topic']);
          assert.match(error.message, problem);
          return true;
        },
      );
    });
  }

  it('braces can be written twice to stand for themselves', async () => {
    const sink = await transform({ topic: '{{x}}/{pointId}' }, value('a'));
    assert.equal(sink.pushed[0]!.topic, '{x}/a');
  });

  it('only time values from its source are taken', () => {
    const transformer = open({ type: 'time-values-to-mqtt', from: 'sensors' });
    assert.equal(transformer.takes('time-values', 'sensors'), true);
    assert.equal(transformer.takes('time-values', 'other'), false);
    assert.equal(transformer.takes('json', 'sensors'), false);
    assert.equal(open({ type: 'time-values-to-mqtt' }).takes('time-values', 'anything'), true);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { openPassThrough } from '../../src/transform/transformer.js';
import { open, RecordingSink } from './recording-sink.js';

function transform(...elements: unknown[]): RecordingSink {
  const sink = new RecordingSink();
  openPassThrough().transform({ type: 'messages', elements }, sink);
  return sink;
}

function accepted(element: unknown) {
  const sink = transform(element);
  assert.deepEqual(sink.rejected, []);
  return sink.pushed[0]!;
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

function circular(): unknown {
  const value: Record<string, unknown> = {};
  value.self = value;
  return value;
}

describe('messages', () => {
  it('a text payload is sent bare, any other JSON as JSON, and base64 as its bytes', () => {
    const sink = transform(
      { topic: 'a', payload: 'text' },
      { topic: 'b', payload: { x: [1] } },
      { topic: 'c', payload: null },
      { topic: 'd', payload: '' },
      { topic: 'e', payloadBase64: 'AP/+' },
      { topic: 'f', payloadBase64: '' },
    );
    assert.deepEqual(sink.messages, ['a text', 'b {"x":[1]}', 'c null', 'd ', 'e \x00\xff\xfe', 'f ']);
  });

  it('QoS, retain and lane are those of the message', () => {
    const { draft } = accepted({ topic: 'a', payload: 1, qos: 2, retain: true, lane: 'alert' });
    assert.deepEqual([draft.qos, draft.retain, draft.lane], [2, true, 'alert']);
  });

  it('what the message leaves out comes from the transformer, then from the connection', () => {
    const options = { qos: 0, retain: true, lane: 'alert', messageExpiry: 9 } as const;
    const sink = new RecordingSink();
    const transformer = open({ type: 'messages-to-mqtt', ...options });
    const elements = [
      { topic: 'a', payload: 1 },
      { topic: 'b', payload: 1, qos: 1, retain: false, lane: 'command', properties: { messageExpiry: 3 } },
    ];
    transformer.transform({ type: 'messages', elements }, sink);
    assert.deepEqual(
      sink.pushed.map(({ draft }) => [draft.qos, draft.retain, draft.lane, draft.expirySeconds]),
      [
        [0, true, 'alert', 9],
        [1, false, 'command', 3],
      ],
    );
    const { draft } = accepted({ topic: 'a', payload: 1 });
    assert.deepEqual([draft.qos, draft.retain, draft.lane, draft.expirySeconds], Array(4).fill(undefined));
  });

  it('all MQTT 5 properties are carried over', () => {
    const { draft } = accepted({
      topic: 'a',
      payload: '{}',
      properties: {
        payloadIsText: true,
        contentType: 'application/json',
        responseTopic: 'answers/1',
        correlationData: 'AQI=',
        userProperties: { site: 'lyon', tag: ['x', 'y'] },
        messageExpiry: '1.5 s',
      },
    });
    assert.deepEqual(draft.properties, {
      payloadIsText: true,
      contentType: 'application/json',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([1, 2]),
      userProperties: [
        ['site', 'lyon'],
        ['tag', 'x'],
        ['tag', 'y'],
      ],
    });
    assert.equal(draft.expirySeconds, 2);
  });

  it('a topic may begin with $ when the producer names it itself', () => {
    assert.notEqual(accepted({ topic: '$aws/rules/x', payload: 1 }).draft.isTopicFromContent, true);
  });

  const properties = (value: unknown) => ({ topic: 'a', payload: 'x', properties: value });
  const wrong: [string, unknown, RegExp][] = [
    ['a text', 'x', /A message is an object/],
    ['without topic', { payload: 1 }, /^topic is missing/],
    ['with a numeric topic', { topic: 1, payload: 1 }, /topic is a text, not 1/],
    ['without payload', { topic: 'a' }, /payload or payloadBase64 is missing/],
    ['with two payloads', { topic: 'a', payload: 1, payloadBase64: '' }, /both given/],
    ['with half a surrogate pair', { topic: 'a', payload: 'x\ud83d' }, /payload has half of a surrogate pair/],
    [
      'nested too deeply',
      { topic: 'a', payload: nested(100_000) },
      /payload cannot be written as JSON: it is nested too deeply\.$/,
    ],
    ['that contains itself', { topic: 'a', payload: circular() }, /Converting circular structure to JSON\.$/],
    ['with a slip in a key', { topic: 'a', paylaod: 1 }, /no key "paylaod"; perhaps "payload" is meant/],
    ['with an unknown key', { topic: 'a', payload: 1, colour: 1 }, /no key "colour"\.$/],
    ['with QoS 3', { topic: 'a', payload: 1, qos: 3 }, /qos is 0, 1 or 2, not 3/],
    ['with QoS as text', { topic: 'a', payload: 1, qos: '1' }, /qos is 0, 1 or 2, not "1"/],
    ['with retain as text', { topic: 'a', payload: 1, retain: 'yes' }, /retain is true or false/],
    ['with an unknown lane', { topic: 'a', payload: 1, lane: 'fast' }, /lane is command, alert or telemetry/],
    ['with properties as list', properties([]), /properties is an object/],
    ['with an unknown property', properties({ contenttype: 'x' }), /perhaps "contentType" is meant/],
    ['with payloadIsText as text', properties({ payloadIsText: 'x' }), /payloadIsText is true or false/],
    ['with a numeric content type', properties({ contentType: 1 }), /contentType is a text, not 1/],
    ['with NUL in the content type', properties({ contentType: 'a\0' }), /contentType has the character NUL/],
    ['with a content type that is no Unicode', properties({ contentType: '\ud800' }), /contentType has half/],
    ['with a content type too long', properties({ contentType: 'é'.repeat(32_768) }), /65536 bytes long/],
    ['with a wildcard to answer to', properties({ responseTopic: 'a/#' }), /responseTopic: The topic contains/],
    ['with an empty topic to answer to', properties({ responseTopic: '' }), /responseTopic: The topic is empty/],
    ['with correlation data in plain text', properties({ correlationData: 'hello!' }), /correlationData is not valid/],
    ['with user properties as list', properties({ userProperties: ['a'] }), /userProperties is an object/],
    [
      'with a numeric user property',
      properties({ userProperties: { a: 1 } }),
      /userProperties\["a"\] is a text, not 1/,
    ],
    ['with a list of numbers', properties({ userProperties: { a: ['x', 1] } }), /userProperties\["a"\] is a text/],
    ['with a negative expiry', properties({ messageExpiry: -1 }), /messageExpiry is 0 to/],
    ['with an expiry too far', properties({ messageExpiry: 2 ** 32 }), /messageExpiry is 0 to/],
    ['with an expiry in words', properties({ messageExpiry: 'soon' }), /messageExpiry is 0 to/],
    ['with an expiry that is no number', properties({ messageExpiry: Number.NaN }), /messageExpiry is 0 to/],
    [
      'with binary data that claim to be text',
      { topic: 'a', payloadBase64: '//8=', properties: { payloadIsText: true } },
      /payloadIsText is true, but payloadBase64 is no UTF-8/,
    ],
    ...['x', 'AQI', 'AQI=\n', 'AQ I=', 'AQJ=', '_-==', 'AQI==', '='].map((text): [string, unknown, RegExp] => [
      `with the base64 ${JSON.stringify(text)}`,
      { topic: 'a', payloadBase64: text },
      /payloadBase64 is not valid base64/,
    ]),
    ['with base64 as number', { topic: 'a', payloadBase64: 5 }, /payloadBase64 is a text in base64, not 5/],
  ];
  for (const [what, element, message] of wrong) {
    it(`a message ${what} is rejected, and the next one is taken`, () => {
      const sink = transform(element, { topic: 'good', payload: 1 });
      assert.deepEqual(
        sink.rejected.map(({ index, code }) => [index, code]),
        [[0, 'ELEMENT_INVALID']],
      );
      assert.match(sink.rejected[0]!.message, message);
      assert.equal(sink.pushed.length, 1);
    });
  }

  it('any bytes in base64 arrive as they were', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const payloadBase64 = Buffer.from(bytes).toString('base64');
        const sink = transform({ topic: 'a', payloadBase64 });
        assert.deepEqual(new Uint8Array(sink.pushed[0]!.draft.payload as Uint8Array), bytes);
      }),
    );
  });

  it('every element ends in exactly one place, whatever it is', () => {
    const element = fc.oneof(
      fc.anything(),
      fc.record(
        {
          topic: fc.string({ unit: 'binary' }),
          payload: fc.anything(),
          qos: fc.constantFrom(0, 1, 2, 3, '1'),
          lane: fc.constantFrom('alert', 'x'),
          properties: fc.oneof(
            fc.anything(),
            fc.record({ userProperties: fc.dictionary(fc.string(), fc.anything()), messageExpiry: fc.anything() }),
          ),
        },
        { requiredKeys: [] },
      ),
    );
    fc.assert(
      fc.property(fc.array(element), (elements) => {
        assert.deepEqual(
          transform(...elements).indices,
          elements.map((_, index) => index),
        );
      }),
    );
  });

  it('only messages are taken, from its source', () => {
    assert.equal(openPassThrough().takes('messages', 'anything'), true);
    assert.equal(openPassThrough().takes('json', 'anything'), false);
    assert.equal(open({ type: 'messages-to-mqtt', from: 'a' }).takes('messages', 'b'), false);
  });
});

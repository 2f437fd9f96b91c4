import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { TransformerOptions } from '../../src/config/transformers.js';
import { NorthError } from '../../src/core/error.js';
import { open, type RecordingSink, run } from './recording-sink.js';

type Options = Omit<Extract<TransformerOptions, { type: 'setpoints-to-mqtt' }>, 'type'>;

function transform(options: Options, ...elements: unknown[]): Promise<RecordingSink> {
  return run({ type: 'setpoints-to-mqtt', ...options }, { type: 'setpoints', elements });
}

describe('setpoints', () => {
  it('a mapped reference goes to its topic: a text bare, anything else as JSON', async () => {
    const mapping = [
      { reference: 'pump1/speed', topic: 'cmd/pump1/speed' },
      { reference: 'valve', topic: 'cmd/valve' },
    ];
    const sink = await transform(
      { mapping },
      { reference: 'pump1/speed', value: 1200 },
      { reference: 'valve', value: 'open' },
      { reference: 'valve', value: { position: 5 } },
      { reference: 'valve', value: null },
    );
    assert.deepEqual(sink.messages, [
      'cmd/pump1/speed 1200',
      'cmd/valve open',
      'cmd/valve {"position":5}',
      'cmd/valve null',
    ]);
  });

  it('payload json puts a text into quotes', async () => {
    const sink = await transform({ topic: '{reference}', payload: 'json' }, { reference: 'v', value: 'open' });
    assert.deepEqual(sink.messages, ['v "open"']);
  });

  it('a command waits in the command lane and is not retained, whatever the connection says', async () => {
    const sink = await transform({ topic: '{reference}' }, { reference: 'v', value: 1 });
    const { lane, retain, qos } = sink.pushed[0]!.draft;
    assert.deepEqual([lane, retain, qos], ['command', false, undefined]);
  });

  it('lane, retain, QoS and expiry can be set, for one reference and for all', async () => {
    const sink = await transform(
      {
        mapping: [{ reference: 'a', topic: 'a', retain: true, lane: 'alert', qos: 2, messageExpiry: '5 s' }],
        topic: 'x/{reference}',
        lane: 'telemetry',
        qos: 0,
        messageExpiry: 7,
      },
      { reference: 'a', value: 1 },
      { reference: 'b', value: 1 },
    );
    assert.deepEqual(
      sink.pushed.map(({ topic, draft }) => [topic, draft.lane, draft.retain, draft.qos, draft.expirySeconds]),
      [
        ['a', 'alert', true, 2, 5],
        ['x/b', 'telemetry', false, 0, 7],
      ],
    );
  });

  it('a reference with neither mapping nor template goes to quarantine with its payload, in its lane', async () => {
    const sink = await transform({}, { reference: 'pump9', value: 'on' });
    const { code, reason, payload, draft } = sink.quarantined[0]!;
    assert.deepEqual([code, payload, draft.lane], ['UNMAPPED', 'on', 'command']);
    assert.match(reason, /"pump9" has no mapping/);
  });

  it('clean replaces what no topic may have', async () => {
    const sink = await transform({ topic: 'cmd/{reference}', clean: true }, { reference: 'a+/b', value: 1 });
    assert.equal(sink.pushed[0]!.topic, 'cmd/a_/b');
    const asItIs = await transform({ topic: 'cmd/{reference}' }, { reference: 'a+/b', value: 1 });
    assert.equal(asItIs.pushed[0]!.topic, 'cmd/a+/b');
  });

  const wrong: [string, unknown, RegExp][] = [
    ['a text', 'x', /A setpoint is an object/],
    ['without reference', { value: 1 }, /^reference is missing/],
    ['with a numeric reference', { reference: 5, value: 1 }, /reference is a text, not 5/],
    ['with an empty reference', { reference: '', value: 1 }, /reference is empty/],
    ['without value', { reference: 'a' }, /^value is missing/],
    ['with a slip of the pen', { reference: 'a', vlue: 1 }, /no key "vlue"; perhaps "value" is meant/],
    ['with a condition that is not known', { reference: 'a', value: 1, deadline: 'now' }, /no key "deadline"/],
    ['with a text that is no Unicode', { reference: 'a', value: '\udc00' }, /half of a surrogate pair/],
    ['with a value that has no JSON', { reference: 'a', value: 10n }, /cannot be written as JSON/],
  ];
  for (const [what, element, message] of wrong) {
    it(`a setpoint ${what} is rejected`, async () => {
      const sink = await transform({ topic: '{reference}' }, element, { reference: 'good', value: 1 });
      assert.deepEqual(
        sink.rejected.map(({ index, code }) => [index, code]),
        [[0, 'ELEMENT_INVALID']],
      );
      assert.match(sink.rejected[0]!.message, message);
      assert.equal(sink.pushed.length, 1);
    });
  }

  it('every element ends in exactly one place, whatever it is', async () => {
    const element = fc.oneof(
      fc.anything(),
      fc.record({ reference: fc.string({ unit: 'binary' }), value: fc.anything() }),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(undefined, '{reference}'), fc.array(element), async (topic, elements) => {
        const sink = await transform({ topic }, ...elements);
        assert.deepEqual(
          sink.indices,
          elements.map((_, index) => index),
        );
      }),
    );
  });

  it('a template over anything but the reference is refused when the transformer is opened', () => {
    assert.throws(
      () => open({ type: 'setpoints-to-mqtt', topic: 'x/{value}' }),
      (error) => error instanceof NorthError && error.code === 'CONFIG_INVALID' && error.place === 'topic',
    );
  });

  it('only setpoints from its source are taken', () => {
    const transformer = open({ type: 'setpoints-to-mqtt', from: 'scada' });
    assert.deepEqual(
      [
        transformer.takes('setpoints', 'scada'),
        transformer.takes('setpoints', 'x'),
        transformer.takes('json', 'scada'),
      ],
      [true, false, false],
    );
  });
});

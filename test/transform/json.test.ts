import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { TransformerOptions } from '../../src/config/transformers.js';
import { NorthError } from '../../src/core/error.js';
import { JsonPath } from '../../src/transform/json-path.js';
import { JsonataExpression } from '../../src/transform/jsonata-expression.js';
import { open, RecordingSink, run } from './recording-sink.js';

type Options = Omit<Extract<TransformerOptions, { type: 'json-to-mqtt' }>, 'type'>;

function transform(options: Options, document: unknown): Promise<RecordingSink> {
  return run({ type: 'json-to-mqtt', ...options }, { type: 'json', document });
}

const jsonata = (options: Options): Options => ({ language: 'jsonata', ...options });

function refused(options: Options, place: string, message: RegExp) {
  assert.throws(
    () => open({ type: 'json-to-mqtt', ...options }),
    (error) => {
      assert.ok(error instanceof NorthError);
      assert.deepEqual([error.code, error.place], ['CONFIG_INVALID', place]);
      assert.match(error.message, message);
      return true;
    },
  );
}

describe('JSON by paths', () => {
  it('without an iterator the document is one message', async () => {
    const sink = await transform({ topic: 'plant/{site}' }, { site: 'lyon', v: [1, 2] });
    assert.deepEqual(sink.messages, ['plant/lyon {"site":"lyon","v":[1,2]}']);
    assert.deepEqual((await transform({ topic: 'x' }, [1, 2])).messages, ['x [1,2]']);
    assert.deepEqual((await transform({ topic: 'x' }, 'text')).messages, ['x "text"']);
  });

  it('the iterator makes a message of each element, in order', async () => {
    const document = {
      site: 'lyon',
      items: [
        { tag: 'a', v: 1 },
        { tag: 'b', v: 2 },
      ],
    };
    const sink = await transform({ iterator: '$.items[*]', topic: '{$.site}/{tag}', payload: 'v' }, document);
    assert.deepEqual(sink.messages, ['lyon/a 1', 'lyon/b 2']);
    assert.deepEqual(sink.indices, [0, 1]);
  });

  it('the iterator goes through lists in lists and through objects', async () => {
    const lines = [
      { n: 1, items: [{ t: 'a' }, { t: 'b' }] },
      { n: 2, items: [{ t: 'c' }] },
    ];
    const nested = await transform(
      { iterator: 'lines[*].items[*]', topic: '{$.lines[*].n}/{t}', payload: '$.lines[*].items[*].t' },
      { lines },
    );
    assert.deepEqual(nested.messages, ['1/a a', '1/b b', '2/c c']);
    const byKey = await transform(
      { iterator: '$.*', topic: '{name}', payload: '$[*].v' },
      { x: { name: 'p', v: 1 }, y: { name: 'q', v: 2 } },
    );
    assert.deepEqual(byKey.messages, ['p 1', 'q 2']);
  });

  it('paths as OIBus writes them, from the document with the place of the element, find the same', async () => {
    const options: Options = { iterator: '$[*]', topicFrom: '$[*].topic', payload: '$[*].value' };
    const document = [
      { topic: 'a', value: 1 },
      { topic: 'b', value: 'x' },
    ];
    assert.deepEqual((await transform(options, document)).messages, ['a 1', 'b x']);
  });

  it('topicFrom is the topic as the element has it', async () => {
    const sink = await transform({ topicFrom: 'meta.topic', payload: 'v' }, { meta: { topic: '$x/+' }, v: 1 });
    assert.deepEqual([sink.pushed[0]!.topic, sink.pushed[0]!.draft.isTopicFromContent], ['$x/+', true]);
    const clean = await transform({ topicFrom: 'meta.topic', clean: true }, { meta: { topic: '$x/+' } });
    assert.equal(clean.pushed[0]!.topic, '_x/_');
    assert.equal((await transform({ topic: '{t}', clean: true }, { t: 'a+' })).pushed[0]!.topic, 'a_');
  });

  it('a missing topic is UNMAPPED, and one that is no text is invalid, each with the payload', async () => {
    for (const [document, code] of [
      [{ v: 1 }, 'UNMAPPED'],
      [{ t: null, v: 1 }, 'UNMAPPED'],
      [{ t: 5, v: 1 }, 'TOPIC_INVALID'],
      [{ t: {}, v: 1 }, 'TOPIC_INVALID'],
    ] as const) {
      const sink = await transform({ topicFrom: 't', payload: 'v' }, document);
      assert.deepEqual([sink.quarantined[0]?.code, sink.quarantined[0]?.payload], [code, '1']);
    }
    const sink = await transform({ topic: 'a/{t}', payload: 'v' }, { v: 1 });
    assert.match(sink.quarantined[0]!.reason, /\{t\} of the topic is missing/);
  });

  it('a payload that is a text is bare, anything else is JSON', async () => {
    for (const [v, payload] of [
      ['é', 'é'],
      [1.5, '1.5'],
      [true, 'true'],
      [null, 'null'],
      [{ a: [] }, '{"a":[]}'],
    ] as const) {
      assert.equal((await transform({ topic: 'x', payload: 'v' }, { v })).pushed[0]?.payload, payload);
    }
  });

  it('a payload that is not there, or is no Unicode, keeps the element in quarantine', async () => {
    const missing = await transform({ topicFrom: 't', payload: 'v' }, { t: 'topic', w: 1 });
    const { code, payload, reason, draft } = missing.quarantined[0]!;
    assert.deepEqual([code, payload, draft.topic], ['ELEMENT_INVALID', '{"t":"topic","w":1}', 'topic']);
    assert.match(reason, /payload finds nothing/);
    const broken = await transform({ topic: 'x', payload: 'v' }, { v: '\ud800' });
    assert.equal(broken.quarantined[0]?.payload, '{"v":"\\ud800"}');
  });

  it('valueType makes a value of another kind, or keeps the element in quarantine', async () => {
    const payloadOf = async (valueType: Options['valueType'], v: unknown, more: Options = {}) => {
      const sink = await transform({ topic: 'x', payload: 'v', valueType, ...more }, { v });
      return sink.pushed[0]?.payload ?? sink.quarantined[0]!.code;
    };
    assert.equal(await payloadOf('string', 5), '5');
    assert.equal(await payloadOf('string', { a: 1 }), '{"a":1}');
    assert.equal(await payloadOf('number', '007'), '7');
    assert.equal(await payloadOf('number', 1.5), '1.5');
    assert.equal(await payloadOf('number', true), 'ELEMENT_INVALID');
    assert.equal(await payloadOf('number', 'x'), 'ELEMENT_INVALID');
    assert.equal(await payloadOf('number', null), 'null');
    assert.equal(await payloadOf('boolean', 'True'), 'true');
    assert.equal(await payloadOf('boolean', 0), 'false');
    assert.equal(await payloadOf('boolean', 2), 'ELEMENT_INVALID');
    assert.equal(await payloadOf('boolean', []), 'ELEMENT_INVALID');
    assert.equal(await payloadOf('datetime', '2026-01-15T10:00:00+01:00'), '2026-01-15T09:00:00.000Z');
    assert.equal(await payloadOf('datetime', {}), 'ELEMENT_INVALID');
    const datetime = { input: { format: 'unix-ms' }, output: { format: 'iso', timezone: 'Asia/Tokyo' } };
    assert.equal(await payloadOf('datetime', 1_768_471_200_000, { datetime }), '2026-01-15T19:00:00.000+09:00');
  });

  it('objectFields make an object of paths, with null for what is not there', async () => {
    const sink = await transform(
      {
        iterator: '$.rows[*]',
        topic: 'x',
        objectFields: [
          { key: 'site', path: '$.site' },
          { key: 'n', path: 'n', type: 'number' },
          { key: 's', path: 'n', type: 'string' },
          { key: 'b', path: 'b', type: 'boolean' },
          { key: 'at', path: 't', type: 'datetime', datetime: { output: { format: 'unix-ms' } } },
          { key: 'any', path: 'deep.list' },
          { key: 'none', path: 'deep.none' },
        ],
      },
      { site: 'lyon', rows: [{ n: '1.50', b: 1, t: '2026-01-15T10:00:00Z', deep: { list: [1, 'x'] } }] },
    );
    const expected = '{"site":"lyon","n":1.50,"s":"1.50","b":true,"at":1768471200000,"any":[1,"x"],"none":null}';
    assert.equal(sink.pushed[0]?.payload, expected);
  });

  it('a field of the wrong kind keeps the element in quarantine and names the field', async () => {
    const options: Options = { iterator: '$[*]', topic: 'x', objectFields: [{ key: 'n', path: 'n', type: 'number' }] };
    const sink = await transform(options, [{ n: 'abc' }, { n: 1 }]);
    assert.match(sink.quarantined[0]!.reason, /objectFields\[0\]\.path: "abc" is no number/);
    assert.deepEqual([sink.quarantined[0]!.payload, sink.messages], ['{"n":"abc"}', ['x {"n":1}']]);
  });

  it('an iterator that leads nowhere keeps the document in quarantine; an empty list gives nothing', async () => {
    const options: Options = { iterator: '$.items[*]', topic: 'x' };
    for (const document of [{ itmes: [1] }, { items: 5 }, null, 'x', []]) {
      const sink = await transform(options, document);
      assert.deepEqual(
        [sink.quarantined[0]?.code, sink.quarantined[0]?.payload],
        ['ELEMENT_INVALID', JSON.stringify(document)],
      );
      assert.match(sink.quarantined[0]!.reason, /"\$\.items\[\*\]" finds nothing/);
    }
    assert.deepEqual((await transform(options, { items: [] })).indices, []);
  });

  it('prototypes are out of reach', async () => {
    for (const path of ['constructor', '__proto__', 'toString', 'v.length', 'v.constructor.name']) {
      const sink = await transform({ topic: 'x', payload: path }, { v: 'text' });
      assert.equal(sink.quarantined[0]?.code, 'ELEMENT_INVALID', path);
    }
  });

  it('QoS, retain, lane and expiry of the transformer are those of messages and quarantine', async () => {
    const options = { qos: 2, retain: true, lane: 'alert', messageExpiry: 9 } as const;
    const sink = await transform({ ...options, iterator: '$[*]', topic: '{t}' }, [{ t: 'a' }, {}]);
    for (const draft of [sink.pushed[0]!.draft, sink.quarantined[0]!.draft]) {
      assert.deepEqual([draft.qos, draft.retain, draft.lane, draft.expirySeconds], [2, true, 'alert', 9]);
    }
  });

  it('paths that are wrong are refused when the transformer is opened', () => {
    for (const path of ['a..b', 'a[', 'a[x]', '$..a', 'a[?(@.b)]', ' ', 'a.', '$x', 'a["b]', 'a[1:2]']) {
      refused({ topicFrom: path }, 'topicFrom', /path .* is wrong/);
    }
    refused({ topic: 'a/{b..c}' }, 'topic', /path .* is wrong/);
    refused({ topic: 'a', iterator: '$..x' }, 'iterator', /path/);
    refused({ topic: 'a', payload: 'b[*]' }, 'payload', /many values/);
    refused({ topic: 'a', iterator: '$[*]', payload: '$[*].b[*]' }, 'payload', /many values/);
    refused({ topic: 'a', objectFields: [{ key: 'a', path: 'b.*' }] }, 'objectFields[0].path', /many values/);
  });

  it('only JSON from its source is taken', () => {
    const transformer = open({ type: 'json-to-mqtt', topic: 'x', from: 'a' });
    assert.deepEqual(
      [transformer.takes('json', 'a'), transformer.takes('json', 'b'), transformer.takes('csv', 'a')],
      [true, false, false],
    );
  });

  it('every element of any document ends in exactly one place', async () => {
    const options: fc.Arbitrary<Options> = fc.constantFrom<Options[]>(
      { iterator: '$[*]', topic: '{a}' },
      { iterator: '$[*]', topicFrom: 'a', payload: 'b' },
      { iterator: '$[*]', topicFrom: 'b', objectFields: [{ key: 'x', path: 'a', type: 'number' }] },
      { iterator: '$[*]', topic: 'x', payload: 'a', valueType: 'string', clean: true },
    );
    const leaf = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.string({ unit: 'binary' }));
    const element = fc.oneof(leaf, fc.record({ a: leaf, b: leaf }, { requiredKeys: [] }));
    await fc.assert(
      fc.asyncProperty(options, fc.array(element, { minLength: 1 }), async (options, document) => {
        const sink = await transform(options, document);
        assert.deepEqual(
          sink.indices,
          document.map((_, index) => index),
        );
      }),
    );
  });
});

describe('JSON paths', () => {
  const find = (path: string, element: unknown) => new JsonPath(path, 'x').find(element);

  it('names, quoted names and indices lead to values', () => {
    const element = { a: { 'b c': [10, { d: 1 }] }, 'x.y': 2, 'é-1': 3, "it's": 4 };
    assert.equal(find("a['b c'][0]", element), 10);
    assert.equal(find('a["b c"][-1].d', element), 1);
    assert.equal(find("['x.y']", element), 2);
    assert.equal(find(' @.é-1 ', element), 3);
    assert.equal(find("['it\\'s']", element), 4);
    assert.equal(find('@', element), element);
    assert.equal(find('a[0]', element), undefined);
    assert.equal(find("a['b c'][9]", element), undefined);
    assert.equal(find('[1]', [5, 6]), 6);
  });

  it('a key is found under its quoted name, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.jsonValue(), (key, value) => {
        const quoted = `['${key.replaceAll(/['\\]/g, '\\$&')}']`;
        assert.deepEqual(find(quoted, Object.fromEntries([[key, value]])), value);
      }),
    );
  });
});

describe('JSON by JSONata', () => {
  it('iterator, topic and payload are expressions', async () => {
    const sink = await transform(
      jsonata({
        iterator: 'rows[v > 1]',
        topicFrom: '$document.site & "/" & $lowercase(tag)',
        payload: '{"t": v * 2, "n": $index}',
      }),
      {
        site: 'lyon',
        rows: [
          { tag: 'A', v: 1 },
          { tag: 'B', v: 2 },
          { tag: 'C', v: 3 },
        ],
      },
    );
    assert.deepEqual(sink.messages, ['lyon/b {"t":4,"n":0}', 'lyon/c {"t":6,"n":1}']);
  });

  it('fields of an object are expressions, and templates keep their paths', async () => {
    const objectFields = [{ key: 'sum', path: '$sum(v)', type: 'string' as const }];
    const sink = await transform(jsonata({ topic: 'x/{tag}', objectFields }), { tag: 'a', v: [1, 2] });
    assert.deepEqual(sink.messages, ['x/a {"sum":"3"}']);
  });

  it('an iterator that gives one thing gives one element, and one that selects nothing leaves the document out', async () => {
    assert.deepEqual((await transform(jsonata({ iterator: 'a', topic: 'x' }), { a: 1 })).messages, ['x 1']);
    const sink = await transform(jsonata({ iterator: 'a[v > 5]', topic: 'x' }), { a: [{ v: 1 }] });
    assert.deepEqual([sink.ignoredCount, sink.indices], [1, []]);
  });

  it('a failing expression keeps its element in quarantine with the reason, and the others go on', async () => {
    const options = jsonata({ iterator: 'rows', topic: 'x', payload: 'v + 1' });
    const sink = await transform(options, { rows: [{ v: 'text' }, { v: 1 }] });
    assert.deepEqual([sink.quarantined[0]?.code, sink.quarantined[0]?.payload], ['TRANSFORMER_FAILED', '{"v":"text"}']);
    assert.match(sink.quarantined[0]!.reason, /expression of payload failed: The left side of the "\+" operator/);
    assert.deepEqual(sink.messages, ['x 2']);
    const whole = await transform(jsonata({ iterator: '$error("why")', topic: 'x' }), { rows: [1] });
    assert.deepEqual(
      [whole.quarantined[0]?.code, whole.quarantined[0]?.payload],
      ['TRANSFORMER_FAILED', '{"rows":[1]}'],
    );
    assert.match(whole.quarantined[0]!.reason, /expression of iterator failed: why/);
  });

  it('an endless recursion ends, whether it nests or loops, and its element is kept', async () => {
    const nests = jsonata({ topic: 'x', payload: '($f := function($n) { 1 + $f($n + 1) }; $f(0))' });
    assert.match((await transform(nests, {})).quarantined[0]!.reason, /nests deeper than 5000 steps/);
    const loops = jsonata({ topic: 'x', timeout: 50, payload: '($f := function($n) { $f($n + 1) }; $f(0))' });
    const sink = await transform(loops, { kept: true });
    assert.equal(sink.quarantined[0]?.payload, '{"kept":true}');
    assert.match(sink.quarantined[0]!.reason, /ran longer than its timeout of 50 ms/);
  });

  it('documents at once in one transformer do not get into the way of each other', async () => {
    const transformer = open({
      type: 'json-to-mqtt',
      ...jsonata({ topic: 'x', payload: '$sum([1..200].($ * $$.v))' }),
    });
    const sinks = await Promise.all(
      Array.from({ length: 20 }, async (_, v) => {
        const sink = new RecordingSink();
        await transformer.transform({ type: 'json', document: { v } }, sink);
        return sink;
      }),
    );
    assert.deepEqual(
      sinks.map(({ pushed }) => pushed[0]?.payload),
      Array.from({ length: 20 }, (_, v) => String(20_100 * v)),
    );
  });

  it('a document cannot be altered by an expression', async () => {
    const freeze = (value: unknown): unknown => {
      if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(freeze);
      return value;
    };
    const document = freeze({
      list: [
        { a: 1, b: [3, 1, 2] },
        { a: 2, b: [] },
      ],
      x: { y: 1 },
    });
    const before = JSON.stringify(document);
    const expressions = [
      '$ ~> |list|{"a": 5}, ["b"]|',
      '$ ~> |$|{"__proto__": {"polluted": true}}|',
      '$append(list, 1)',
      '$sort(list.b)',
      'list^(>a)',
      '$reverse(list)',
      '$merge([x, {"y": 2}])',
      'list.b[[0..1]]',
      'list@$l.b#$i.{"i": $i}',
      'list.b.%.a',
      '$map(list, function($v) { $v.b })',
      '$each(x, function($v, $k) { $k })',
      '$spread(x)',
      '**',
    ];
    for (const payload of expressions) await transform(jsonata({ iterator: '$', topic: 'x', payload }), document);
    assert.equal(JSON.stringify(document), before);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });

  it('the engine behind is out of reach', async () => {
    for (const payload of [
      'constructor',
      '__proto__',
      '$constructor',
      'v.constructor',
      '$lookup($, "__proto__")',
      '$lookup(v, "constructor")',
    ]) {
      const sink = await transform(jsonata({ topic: 'x', payload }), { v: 'text' });
      assert.equal(sink.pushed.length, 0, payload);
    }
  });

  it('a function as result, alone or inside, is no payload', async () => {
    for (const payload of ['function($x) { $x }', '$sum', '{"f": function($x) { $x }}']) {
      const sink = await transform(jsonata({ topic: 'x', payload }), {});
      assert.equal(sink.quarantined.length, 1, payload);
    }
  });

  it('an expression that is wrong is refused when the transformer is opened, with its place', () => {
    refused(jsonata({ topicFrom: 'a[' }), 'topicFrom', /JSONata expression is wrong at position 2/);
    refused(jsonata({ topic: 'x', iterator: '(' }), 'iterator', /wrong/);
    refused(jsonata({ topic: 'x', payload: '"' }), 'payload', /wrong/);
    refused(jsonata({ topic: 'x', objectFields: [{ key: 'a', path: ')' }] }), 'objectFields[0].path', /wrong/);
  });

  it('many elements let others have their turn', async () => {
    let turnsCount = 0;
    let isDone = false;
    const countTurn = () => {
      turnsCount++;
      if (!isDone) setImmediate(countTurn);
    };
    setImmediate(countTurn);
    const rows = Array.from({ length: 1000 }, (_, v) => ({ v }));
    const sink = await transform(jsonata({ iterator: '$', topic: 'x', payload: 'v' }), rows);
    isDone = true;
    assert.deepEqual(
      sink.indices,
      rows.map(({ v }) => v),
    );
    assert.ok(turnsCount >= 5, `others had ${turnsCount} turns`);
  });
});

describe('a JSONata expression', () => {
  /** Calls `turn` in every turn of the event loop until the evaluation has ended, and gives how often that was. */
  async function evaluateBeside(
    expression: JsonataExpression,
    turn: () => void,
  ): Promise<{ result: unknown; turnsCount: number }> {
    let turnsCount = 0;
    let isDone = false;
    const take = () => {
      turnsCount++;
      turn();
      if (!isDone) setImmediate(take);
    };
    setImmediate(take);
    const result = await expression.evaluate({}, {}).catch((error: unknown) => error);
    isDone = true;
    return { result, turnsCount };
  }

  it('is stopped when it has used its time, and lets others have their turn before', async () => {
    // A clock that each look moves on by 3 ms.
    let nowMs = 0;
    const endless = '($f := function($n) { $f($n + 1) }; $f(0))';
    const expression = new JsonataExpression(endless, 100, 'x', () => (nowMs += 3));
    const { result, turnsCount } = await evaluateBeside(expression, () => {});
    assert.match(String(result), /ran longer than its timeout of 100 ms/);
    assert.ok(turnsCount >= 5, `others had ${turnsCount} turns`);
  });

  it('is not charged for the time that others use in their turns', async () => {
    let nowMs = 0;
    const expression = new JsonataExpression('$sum([1..3000].($ * 1))', 2000, 'x', () => (nowMs += 3));
    const { result, turnsCount } = await evaluateBeside(expression, () => {
      nowMs += 1000;
    });
    assert.equal(result, 4_501_500);
    assert.ok(turnsCount >= 5, `others had ${turnsCount} turns`);
  });
});

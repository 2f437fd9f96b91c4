import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { NorthError } from '../../src/core/error.js';
import { findJsonFault, parseJson } from '../../src/core/json.js';

function faultOf(text: string): string {
  try {
    parseJson(Buffer.from(text));
  } catch (error) {
    assert.ok(error instanceof NorthError && error.code === 'CONTENT_MALFORMED');
    return error.message;
  }
  return 'none';
}

describe('parseJson', () => {
  it('takes JSON with or without a byte-order mark', () => {
    assert.deepEqual(parseJson(Buffer.from('\ufeff {"a":[1,"ü",null]} ')), { a: [1, 'ü', null] });
  });

  it('names line and column of the first fault', () => {
    const cases: [string, RegExp][] = [
      ['', /line 1, column 1: the text ends, but a value is missing/],
      ['[1,\n 2,\n]', /line 3, column 1: expected a value, not "\]"/],
      ['{"a" 1}', /column 6: expected ":"/],
      ['{"a":1,}', /column 8: expected a key/],
      ['{a:1}', /column 2: expected a key/],
      ['[1 2]', /column 4: expected "," or "\]"/],
      ['{"a":1]', /column 7: expected "," or "}"/],
      ['[1]x', /column 4: nothing may follow/],
      ['[1', /column 3: the text ends, but the list is not closed/],
      ['["a', /the text ends inside a string/],
      ['["a\nb"]', /column 4: a text must not contain/],
      ['["\\x"]', /column 3: there is no escape \\x/],
      ['["\\u12g4"]', /column 3: \\u needs four/],
      ['[01]', /column 3: expected ","/],
      ['[-]', /column 2: expected a value/],
      ['[tru]', /column 2: expected a value/],
      ['[NaN]', /column 2: expected a value/],
    ];
    for (const [text, expected] of cases) assert.match(faultOf(text), expected, text);
  });

  it('says at which byte a text is not UTF-8', () => {
    const cases: [number[], number][] = [
      [[0x22, 0xff, 0x22], 1],
      [[0x22, 0xc3, 0xa4, 0xc3, 0x22], 3],
      [[0xe2, 0x82], 0],
      [[0x22, 0x61, 0xf0, 0x9f, 0x8c], 2],
    ];
    for (const [bytes, at] of cases) {
      assert.throws(() => parseJson(Uint8Array.from(bytes)), new RegExp(`at byte ${at}\\.`), bytes.join(' '));
    }
  });

  it('refuses a key that would change prototypes, at any depth and however it is written', () => {
    for (const text of ['{"__proto__":1}', '[[{"a":{"__proto__":{}}}]]', '{"\\u005f_proto_\\u005F":1}']) {
      assert.match(faultOf(text), /__proto__/, text);
    }
    assert.equal(faultOf('{"a":"__proto__","b__proto__":1}'), 'none');
  });

  it('finds a fault in exactly the texts that the engine refuses', () => {
    const mutated = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom('', ',', '"', '}', ']', '{', ':', '0', '\\', '\n', 'e', 't'))
      .map(([json, at, char]) => {
        const place = at % (json.length + 1);
        return json.slice(0, place) + char + json.slice(place + (at % 2));
      });
    fc.assert(
      fc.property(mutated, (text) => {
        const fault = findJsonFault(text);
        let isValid = true;
        try {
          JSON.parse(text);
        } catch {
          isValid = false;
        }
        // Of a valid text it comes to the end with nothing open.
        const foundNone = fault.index === text.length && fault.problem === 'the text ends, but a value is missing';
        if (isValid) assert.ok(foundNone, JSON.stringify({ text, fault }));
        else assert.ok(!foundNone || text.trim() === '', JSON.stringify({ text, fault }));
      }),
      { numRuns: 3000 },
    );
  });

  it('survives nesting that is deeper than any stack', () => {
    assert.match(faultOf('['.repeat(200_000)), /the list is not closed/);
    assert.ok(Array.isArray(parseJson(Buffer.from(`${'['.repeat(100_000)}"__proto__"${']'.repeat(100_000)}`))));
  });
});

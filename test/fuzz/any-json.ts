import fc from 'fast-check';
import { weighted } from './weighted.js';

const ODD_KEYS = ['__proto__', 'constructor', 'toString', '', 'a.b', '[0]'];

/** Any JSON made of these keys and texts, of odd ones and of everything that is no text. */
export function json(keys: readonly string[], texts: readonly string[]): fc.Arbitrary<unknown> {
  const scalar = weighted<unknown>(
    [4, fc.constantFrom<unknown>(...texts)],
    [3, fc.constantFrom<unknown>(null, true, false, 0, 1, 2, -1, 1.5, 2 ** 53, 1e300)],
    [1, fc.string({ unit: 'binary', maxLength: 8 })],
    [1, fc.constantFrom<unknown>('x'.repeat(70_000), 'a\0b', '\ud800', '9'.repeat(400))],
    // What throws when it is compared, added or written.
    [1, fc.constantFrom<unknown>({ toString: {} }, { valueOf: 1, toString: null }, { toJSON: 1 }, [[]])],
  );
  return fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'any-json' },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys, ...ODD_KEYS), tie('value'), { maxKeys: 4 }),
    ),
  })).value;
}

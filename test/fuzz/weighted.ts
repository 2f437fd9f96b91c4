import fc from 'fast-check';

/** One of these, each as often as its weight says. */
export function weighted<T>(
  ...options: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<T>])[]
): fc.Arbitrary<T> {
  return fc.oneof(...options.map(([weight, arbitrary]) => ({ weight, arbitrary })));
}

import { test } from 'node:test';
import { assertReached, fuzz } from './fuzz.js';
import { sockets } from './sockets.js';

test('a connector delivers everything after a broker that says anything on its sockets', async () => {
  const report = await fuzz(sockets, { cases: 40, seed: 1 });
  assertReached(report, ['everything arrived']);
});

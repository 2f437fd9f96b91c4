import { test } from 'node:test';
import { assertWorlds, WORLDS } from './random-worlds.js';

test('random worlds keep every guarantee (odd seeds)', async (t) => {
  await assertWorlds(1, 2, WORLDS);
  t.diagnostic(`${WORLDS} worlds`);
});

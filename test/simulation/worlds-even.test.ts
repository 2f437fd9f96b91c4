import { test } from 'node:test';
import { assertWorlds, WORLDS } from './random-worlds.js';

test('random worlds keep every guarantee (even seeds)', async (t) => {
  await assertWorlds(2, 2, WORLDS);
  t.diagnostic(`${WORLDS} worlds`);
});

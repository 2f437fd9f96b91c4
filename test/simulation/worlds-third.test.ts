import { test } from 'node:test';
import { assertShare } from './random-worlds.js';

test('random worlds keep every guarantee (third share of the seeds)', (t) => assertShare(t, 2));

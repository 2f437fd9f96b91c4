import { test } from 'node:test';
import { assertShare } from './random-worlds.js';

test('random worlds keep every guarantee (fourth share of the seeds)', (t) => assertShare(t, 3));

// The process of one target, started by watched-target.ts.
import { runTargetProcess } from './target-process.js';
import { TARGETS } from './targets.js';

await runTargetProcess(TARGETS);

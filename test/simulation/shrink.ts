/** Makes a plan that fails as small as it can: a few messages and one fault say more than a seed. */
import { happenedKindsOf } from './kinds.js';
import type { PlannedAppend, WorldPlan } from './plan.js';
import { verdictOf } from './verdict.js';
import { World } from './world.js';

/** What became of the world of a plan. */
export interface WorldResult {
  /** What is wrong with it; nothing when all is well. */
  problems: string[];
  /** What has happened in it. */
  kinds: string[];
}

export async function problemsOf(plan: WorldPlan): Promise<string[]> {
  return (await runWorld(plan)).problems;
}

export async function runWorld(plan: WorldPlan): Promise<WorldResult> {
  let world: World | undefined;
  try {
    world = new World(plan);
    const problems = await world.run();
    return { problems: problems.length > 0 ? problems : verdictOf(world), kinds: happenedKindsOf(world) };
  } catch (error) {
    // A state that asserts itself, or a machine that spins, is a finding like any other.
    return { problems: [error instanceof Error ? (error.stack ?? error.message) : String(error)], kinds: [] };
  } finally {
    world?.dispose();
  }
}

const ATTEMPTS_MAX = 2000;

/** What a plan may leave out of its broker. */
const OPTIONAL_HABITS = [
  'receiveMaxima',
  'grants',
  'refused',
  'silencing',
  'poisonPubrel',
  'ignoredPubrel',
  'maximumPacketSizeBytes',
  'retainAvailable',
] as const;

/** What a plan may leave out. */
const OPTIONAL = [
  'fallsBack',
  'readAheadBytes',
  'hasSpare',
  'reconnectPeriodMs',
  'dialDelayMs',
  'pieceSizeMax',
  'cache',
  'keyRetentionMs',
  'endsStopped',
] as const;

/** Makes a plan smaller as long as the same thing is wrong with it. */
export async function shrink(plan: WorldPlan): Promise<WorldPlan> {
  const kinds = new Set((await problemsOf(plan)).map(kindOf));
  const fails = async (smaller: WorldPlan): Promise<boolean> =>
    (await problemsOf(smaller)).some((problem) => kinds.has(kindOf(problem)));
  let best = plan;
  let attempts = 0;
  for (let isSmaller = true; isSmaller && attempts < ATTEMPTS_MAX; ) {
    isSmaller = false;
    for (const smaller of smallerPlans(best)) {
      if (attempts++ >= ATTEMPTS_MAX) break;
      if (!(await fails(smaller))) continue;
      best = smaller;
      isSmaller = true;
      break;
    }
  }
  return best;
}

/** The same whatever message and number it is about, and wherever in the code it was found. */
function kindOf(problem: string): string {
  return problem
    .slice(0, problem.indexOf('\n') < 0 ? undefined : problem.indexOf('\n'))
    .replace(/^It does not (end|stay) idle.*/, 'It does not $1 idle.')
    .replace(/\b[cat]?\d+(\.\d+)?\b/g, '#');
}

function* smallerPlans(plan: WorldPlan): Generator<WorldPlan> {
  for (const i of plan.faults.keys()) yield { ...plan, faults: without(plan.faults, i) };
  for (const i of plan.appends.keys()) yield { ...plan, appends: without(plan.appends, i) };
  for (const [i, append] of plan.appends.entries()) {
    for (const messages of shorter(append)) {
      yield { ...plan, appends: plan.appends.map((other, j) => (i === j ? { ...append, messages } : other)) };
    }
  }
  const plain = plan.appends.map((append) => ({
    atMs: append.atMs,
    lane: append.lane,
    messages: append.messages.map(({ qos }) => ({ qos, sizeBytes: 0, expirySeconds: 0, retain: false })),
  }));
  if (JSON.stringify(plain) !== JSON.stringify(plan.appends)) yield { ...plan, appends: plain };
  const { broker } = plan;
  if (broker.refusalShare > 0) yield { ...plan, broker: { ...broker, refusalShare: 0 } };
  if (broker.pubrecsMax !== undefined) yield { ...plan, broker: { ...broker, pubrecsMax: undefined } };
  if (broker.saysInUse) yield { ...plan, broker: { ...broker, saysInUse: false } };
  if (broker.downgrades) yield { ...plan, broker: { ...broker, downgrades: false } };
  if (broker.receiveMaximum !== undefined) yield { ...plan, broker: { ...broker, receiveMaximum: undefined } };
  for (const name of OPTIONAL) {
    if (plan[name] === undefined) continue;
    const { [name]: _, ...rest } = plan;
    yield rest;
  }
  for (const name of OPTIONAL_HABITS) {
    if (broker[name] === undefined) continue;
    const { [name]: _, ...rest } = broker;
    yield { ...plan, broker: rest };
  }
  if (plan.messagesPerSecond > 0) yield { ...plan, messagesPerSecond: 0 };
  if (plan.firstOffset > 0) yield { ...plan, firstOffset: 0 };
  if (plan.messageIdProperty !== undefined) yield { ...plan, messageIdProperty: undefined };
}

function* shorter(append: PlannedAppend): Generator<PlannedAppend['messages']> {
  const { messages } = append;
  if (messages.length <= 1) return;
  const half = Math.ceil(messages.length / 2);
  yield messages.slice(0, half);
  yield messages.slice(half);
  if (messages.length <= 8) for (const i of messages.keys()) yield without(messages, i);
}

function without<T>(list: readonly T[], index: number): T[] {
  return list.filter((_, i) => i !== index);
}

/**
 * JSONata under supervision: compiled once, stopped when it runs too long or too deep, and unable to hold up others.
 *
 * An evaluation is a chain of microtasks, which would keep sockets and timers waiting until it ends, for ever in the
 * case of an endless recursion. The hook that JSONata calls before each step counts the time that this evaluation itself
 * has used, so that a busy machine does not make expressions fail; and it lets the event loop run now and then.
 */
import type jsonata from 'jsonata';
import { NorthError } from '../core/error.js';
import { lazily } from '../core/lazily.js';
import { eventLoopTurn } from './element.js';

const jsonataPackage = lazily<typeof jsonata>('jsonata');

/** The name under which JSONata looks for a function to call before each step. */
const STEP_HOOK = Symbol.for('jsonata.__evaluate_entry');
const STEPS_BETWEEN_CHECKS = 64;
const TURN_MS = 10;
/** Nested steps; a call of a function is about five. Deeper recursion takes memory faster than the time limit ends it. */
const DEPTH_MAX = 5000;
/** Longest list that an expression may make. */
const SEQUENCE_MAX = 1_000_000;

/** The part of JSONata's frame that the hook needs; the frame of the whole evaluation is `base`. */
interface Frame {
  base: object & { depth: number };
}

/** Why an expression gave nothing: in its own words, for people. */
export class ExpressionFailed extends Error {}

/** Time that one evaluation has used. */
class Budget {
  #stepsCount = 0;
  #usedMs = 0;
  #turnBeganAtMs: number;
  readonly #limitMs: number;
  readonly #nowMs: () => number;

  constructor(limitMs: number, nowMs: () => number) {
    this.#limitMs = limitMs;
    this.#nowMs = nowMs;
    this.#turnBeganAtMs = nowMs();
  }

  step(depth: number): Promise<void> | undefined {
    if (depth > DEPTH_MAX)
      throw new ExpressionFailed(`nests deeper than ${DEPTH_MAX} steps; is its recursion endless?`);
    if (++this.#stepsCount % STEPS_BETWEEN_CHECKS !== 0) return undefined;
    const turnMs = this.#nowMs() - this.#turnBeganAtMs;
    if (this.#usedMs + turnMs > this.#limitMs) {
      throw new ExpressionFailed(`ran longer than its timeout of ${this.#limitMs} ms`);
    }
    return turnMs > TURN_MS ? this.#giveWay(turnMs) : undefined;
  }

  async #giveWay(turnMs: number): Promise<void> {
    this.#usedMs += turnMs;
    await eventLoopTurn();
    this.#turnBeganAtMs = this.#nowMs();
  }
}

export class JsonataExpression {
  readonly #expression: jsonata.Expression;
  readonly #budgets = new WeakMap<object, Budget>();
  readonly #timeoutMs: number;
  readonly #nowMs: () => number;

  /** Throws CONFIG_INVALID with `place` when the text is no JSONata. `nowMs` is a clock that never goes backwards. */
  constructor(text: string, timeoutMs: number, place: string, nowMs: () => number = () => performance.now()) {
    this.#timeoutMs = timeoutMs;
    this.#nowMs = nowMs;
    try {
      this.#expression = jsonataPackage()(text, { sequence: SEQUENCE_MAX });
    } catch (error) {
      const position = positionOf(error);
      const at = position === undefined ? '' : ` at position ${position}`;
      throw new NorthError('CONFIG_INVALID', `The JSONata expression is wrong${at}: ${textOf(error)}`, {
        place,
        remedy: 'See https://docs.jsonata.org, and try the expression on a sample at https://try.jsonata.org.',
      });
    }
    // JSONata's types allow names only, its documentation symbols, too.
    this.#expression.assign(STEP_HOOK as unknown as string, (_expression: unknown, _input: unknown, frame: Frame) =>
      this.#step(frame),
    );
  }

  /** The result for an element; `undefined` when the expression finds nothing. Rejects with ExpressionFailed. */
  async evaluate(element: unknown, bindings: Readonly<Record<string, unknown>>): Promise<unknown> {
    let result: unknown;
    try {
      result = await this.#expression.evaluate(element, { ...bindings });
    } catch (error) {
      throw error instanceof ExpressionFailed ? error : new ExpressionFailed(`failed: ${textOf(error)}`);
    }
    if (isFunction(result)) throw new ExpressionFailed('gives a function, not a value');
    return result;
  }

  #step({ base }: Frame): Promise<void> | undefined {
    let budget = this.#budgets.get(base);
    if (budget === undefined) {
      budget = new Budget(this.#timeoutMs, this.#nowMs);
      this.#budgets.set(base, budget);
    }
    return budget.step(base.depth);
  }
}

/** JSONata keeps its own functions in marked objects. */
function isFunction(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value === 'function';
  return '_jsonata_lambda' in value || '_jsonata_function' in value;
}

/** JSONata throws plain objects with a message, and passes on whatever the engine throws. */
function textOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string') {
    return error.message;
  }
  return String(error);
}

function positionOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('position' in error)) return undefined;
  return typeof error.position === 'number' ? error.position : undefined;
}

/**
 * Any bytes to the HTTP port of a whole service. Each answer has a status and a form that the API describes, never 500;
 * what receipts count is what the caches hold afterwards, and what was refused has left nothing there.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { ERRORS, type ErrorCode, isErrorCode } from '../../src/core/error-codes.js';
import { statusOf } from '../../src/http/answer.js';
import { describeApi } from '../../src/http/openapi.js';
import { ROUTES } from '../../src/http/routes.js';
import { errorSchema } from '../../src/http/schemas.js';
import { AttackedService, type Contents } from './attacked-service.js';
import type { FuzzTarget } from './fuzz.js';
import { type Answer, exchange, readAnswers } from './http-exchange.js';
import { split, toBytes } from './mutation.js';
import { type RequestsCase, requestsCase } from './request-cases.js';

/** Statuses of what is no HTTP request yet, so that no route describes them. */
const STATUSES_BEFORE_ROUTES = [400, 403, 404, 408, 431];

/** After so many batches the caches are emptied, so that the small one is full in some of them only. */
const BATCHES_PER_CACHE = 5;

const SETTLED_AFTER_LOOKS = 5;
const LOOK_PERIOD_MS = 10;

/** When a request is made again to see all that it stores, its answer is waited for. */
const PATIENT_SILENCE_MS = 3000;

/** Requests of producers, also where the rest of the line is damaged. */
const HANDS_IN = /^POST \/api\/content/;
const REMOVES = /^POST \/api\/connectors\/[^/]*\/cache\/remove/;

type Operations = Readonly<Record<string, { responses: Readonly<Record<string, unknown>> }>>;

class Subject {
  readonly cases = requestsCase;
  readonly #service: AttackedService;
  readonly #receipts = new Set<string>();
  readonly #crashes: unknown[] = [];
  readonly #onCrash = (error: unknown): void => void this.#crashes.push(error);
  readonly #paths: readonly { pattern: RegExp; operations: Operations }[];
  #batchCount = 0;
  /** What was in the caches after the exchange before. */
  #contents: Contents | undefined;
  /** How the exchange before this one ended; what it left under way would show in this one. */
  #lastEnd = 'none';

  constructor(service: AttackedService) {
    this.#service = service;
    const { paths } = describeApi(ROUTES, '1.0.0') as { paths: Readonly<Record<string, Operations>> };
    this.#paths = Object.entries(paths).map(([path, operations]) => ({
      pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
      operations,
    }));
    process.on('uncaughtException', this.#onCrash);
    process.on('unhandledRejection', this.#onCrash);
  }

  async check({ bytes, cuts, leavesAfterMs }: RequestsCase): Promise<string> {
    const service = this.#service;
    const before = this.#contents ?? (await service.contents());
    const { bytes: received, isImpatient } = await exchange(service.port, split(toBytes(bytes), cuts), {
      leavesAfterMs,
    });
    const answers = readAnswers(received);
    // What was on its way into the cache when we went gets there, also when others in the same bytes were answered.
    if (isImpatient) await this.#untilSettled();
    assert.deepEqual(this.#crashes.splice(0), [], 'the process would have ended');
    assert.deepEqual(service.unforeseen.splice(0), [], 'something unforeseen was logged');
    const target = targetOf(bytes);
    for (const answer of answers) this.#checkAnswer(answer, answers.length === 1 ? target : undefined);
    const after = await service.contents();
    this.#contents = after;
    const isUntold = this.#isUntold(before, after, answers, isImpatient, REMOVES.test(bytes));
    if (isUntold) await this.#checkAgain(before, after, bytes, answers);
    this.#lastEnd = `${answers.map(({ status }) => status).join(' ')}${isImpatient ? ', closed by us' : ''}: ${bytes.slice(0, 500)}`;
    assert.ok(answers.length > 0 || isImpatient, 'the connection was closed without an answer');
    if (leavesAfterMs !== undefined && isImpatient) return 'the client left';
    if (answers.length === 0) return 'no answer before we closed';
    return answers.map(outcomeOf).join(' and ');
  }

  /** Each look goes through the threads of the caches, behind whatever is being stored there. */
  async #untilSettled(): Promise<void> {
    let last = '';
    for (let looks = 0; looks < SETTLED_AFTER_LOOKS; looks++) {
      await delay(LOOK_PERIOD_MS);
      const seen = JSON.stringify(await this.#service.contents());
      if (seen !== last) looks = 0;
      last = seen;
    }
  }

  #checkAnswer(answer: Answer, target: { method: string; path: string } | undefined): void {
    const { status, headers, body } = answer;
    assert.ok(
      status < 500 || status === 503 || status === 507,
      `answered ${status}: ${body.toString().slice(0, 1000)}`,
    );
    if (status < 400) return;
    if (body.length > 0) {
      assert.match(headers['content-type'] ?? '', /^application\/json/);
      const error = errorSchema.strict().parse(JSON.parse(body.toString()));
      assert.ok(isErrorCode(error.code) && ERRORS[error.code] !== undefined, error.code);
      assert.ok(error.message.length > 0 && error.remedy.length > 0);
      assert.ok(error.message.length < 5000, 'the message repeats the request');
      const known = statusOf(error.code as ErrorCode);
      assert.ok(known === status || STATUSES_BEFORE_ROUTES.includes(status), `${error.code} with ${status}`);
    } else assert.ok(target === undefined || target.method === 'HEAD', `an error without a body: ${status}`);
    const documented = target === undefined ? undefined : this.#documented(target);
    if (documented !== undefined) assert.ok(documented.includes(status), `${status} is not documented there`);
  }

  /** The statuses that the OpenAPI document gives an operation, with those that come before any. */
  #documented({ method, path }: { method: string; path: string }): number[] | undefined {
    const found = this.#paths.find(({ pattern }) => pattern.test(path));
    const operation = found?.operations[method.toLowerCase()];
    return operation === undefined
      ? undefined
      : [...Object.keys(operation.responses).map(Number), ...STATUSES_BEFORE_ROUTES];
  }

  /** What came into the caches is what the receipts count. Gives true where no receipt says how much it had to be. */
  #isUntold(
    before: Contents,
    after: Contents,
    answers: readonly Answer[],
    isImpatient: boolean,
    isRemoving: boolean,
  ): boolean {
    const growth = Object.values(growthOf(before, after)).reduce((sum, count) => sum + count, 0);
    const bodies = answers.map(({ status, headers, body }) => {
      const isJson = body.length > 0 && headers['content-type']?.startsWith('application/json') === true;
      return { status, json: isJson ? (JSON.parse(body.toString()) as unknown) : undefined };
    });
    // 204 has no body to say how much it was, and an answer to an operator is no receipt.
    const stored = bodies.reduce(
      (sum, { status, json }) => sum + (status === 202 || status >= 400 ? this.#storedBy(json) : 0),
      0,
    );
    if (bodies.some(({ status }) => status === 204)) return true;
    // Whoever closes without waiting for the answer may have been faster than it: what was stored is stored, and what was
    // removed is gone.
    if (isImpatient && (growth > stored || isRemoving)) return true;
    if (bodies.some(({ json }) => isCount(json))) assert.ok(growth <= stored);
    else if (growth !== stored) {
      const told = answers.map(({ status, body }) => `${status} ${body.toString()}`).join('\n');
      const counts = `The caches have grown by ${growth} messages, and the answers count ${stored}`;
      assert.fail(`${counts}:\n${told}\nThe request before: ${this.#lastEnd}`);
    }
    return false;
  }

  /**
   * All or nothing, where nobody was told: the request is made again, with patience and without the key that would give
   * it the first answer. In each connector the first one has stored as much as the second, or nothing.
   */
  async #checkAgain(before: Contents, after: Contents, bytes: string, answers: readonly Answer[]): Promise<void> {
    if (!HANDS_IN.test(bytes)) return;
    const keyless = toBytes(bytes.replaceAll(/Idempotency-Key/gi, 'Xdempotency-Key'));
    const { bytes: received } = await exchange(this.#service.port, [keyless], { silenceMs: PATIENT_SILENCE_MS });
    const answersAgain = readAnswers(received);
    this.#contents = await this.#service.contents();
    // Several requests in one: each of them is all or nothing.
    if (answers.length > 1 || answersAgain.length > 1) return;
    const first = growthOf(before, after);
    const second = growthOf(after, this.#contents);
    const isStored = answers[0]?.status === 204 && !/Idempotency-Key/i.test(bytes);
    for (const [id, count] of Object.entries(first)) {
      // Where the second one has found no room, nothing can be said.
      if (second[id] === 0 && answersAgain[0]?.status === 507) continue;
      if (count === second[id] || (count === 0 && !isStored)) continue;
      assert.fail(`${id} stored ${count} messages of the request, and ${second[id]} when it was made again`);
    }
  }

  /** What an answer says is stored; a receipt that was given before stands for what was stored then. */
  #storedBy(json: unknown): number {
    const { receipt, accepted = 0, connectors } = (json ?? {}) as StoredPart & { connectors?: StoredPart[] };
    const parts: StoredPart[] = Array.isArray(connectors)
      ? connectors
      : receipt === undefined
        ? []
        : [{ receipt, accepted }];
    let sum = 0;
    for (const part of parts) {
      if (part.receipt === undefined || part.stored === false || this.#receipts.has(part.receipt)) continue;
      this.#receipts.add(part.receipt);
      sum += part.accepted ?? 0;
    }
    return sum;
  }

  async rest(): Promise<void> {
    this.#contents = undefined;
    if (++this.#batchCount % BATCHES_PER_CACHE === 0) await this.#service.openNew();
    else await this.#service.reopen();
  }

  async close(): Promise<void> {
    process.off('uncaughtException', this.#onCrash);
    process.off('unhandledRejection', this.#onCrash);
    await this.#service.close();
  }
}

function outcomeOf({ status, body }: Answer): string {
  if (status < 400 || body.length === 0) return `answered ${status}`;
  const { code } = JSON.parse(body.toString()) as { code: string };
  return `answered ${status} ${code}`;
}

interface StoredPart {
  receipt?: string;
  accepted?: number;
  stored?: boolean;
}

function isCount(json: unknown): boolean {
  return typeof json === 'object' && json !== null && 'count' in json;
}

/** By how many messages each cache has grown. */
function growthOf(before: Contents, after: Contents): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([id, now]) => {
      const then = before[id] ?? { waiting: 0, quarantined: 0 };
      return [id, now.waiting + now.quarantined - then.waiting - then.quarantined];
    }),
  );
}

/** What a request that is still in order asks for. */
function targetOf(bytes: string): { method: string; path: string } | undefined {
  const match = /^([A-Z]+) (\/[^ ?]*)(?:\?[^ ]*)? HTTP\/1\.1\r\n/.exec(bytes);
  return match === null ? undefined : { method: match[1]!, path: match[2]! };
}

export const requests: FuzzTarget<RequestsCase> = {
  name: 'requests',
  open: async () => new Subject(await AttackedService.open()),
};

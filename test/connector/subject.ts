/** A connector on a folder of its own, as a service opens it, with what tests of it ask again and again. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type ConnectorInput, connectorSchema } from '../../src/config/connector.js';
import type { ConnectorState, ConnectorStatus } from '../../src/connector/connector.js';
import {
  type ConnectorEnvironment,
  type OpenedConnector,
  openConfiguredConnector,
} from '../../src/connector/open-connector.js';
import type { NorthError } from '../../src/core/error.js';
import { eventually } from '../kit/deadline.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

export type SettingsInput = ConnectorInput['settings'];

export interface SubjectOptions extends Partial<ConnectorEnvironment> {
  caching?: NonNullable<ConnectorInput['caching']>;
  transformers?: NonNullable<ConnectorInput['transformers']>;
  /** It is opened and not started. */
  isStopped?: boolean;
}

export interface Subject {
  readonly connector: OpenedConnector;
  readonly folder: string;
  /** The states that it went through, in order. */
  readonly states: readonly ConnectorState[];
  readonly failures: readonly NorthError[];
  /** `LEVEL CODE message` of every line that it logged, debug lines left out. */
  readonly log: readonly string[];
  status(): Promise<ConnectorStatus>;
  /** Accepts messages; a text stands for one with that payload and the topic `t`. */
  send(...messages: readonly (string | Record<string, unknown>)[]): Promise<void>;
  /** Waits until the status is as wanted, and gives it. */
  until(
    condition: (status: ConnectorStatus) => unknown,
    describe: string,
    timeoutMs?: number,
  ): Promise<ConnectorStatus>;
  untilOnline(timeoutMs?: number): Promise<ConnectorStatus>;
  /** Nothing waits and nothing is in flight any more. */
  untilEmpty(timeoutMs?: number): Promise<ConnectorStatus>;
  untilFailed(code: string): Promise<NorthError>;
  close(deadlineMs?: number): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 5000;

/** Opens it, starts it, and closes it at the end of the test. */
export async function openSubject(
  t: TestContext,
  settings: SettingsInput,
  options: SubjectOptions = {},
): Promise<Subject> {
  const { caching, transformers, isStopped, folder = temporaryFolder('connector'), ...environment } = options;
  const config = connectorSchema.parse({
    id: 'subject',
    settings: { reconnectPeriod: 100, ...settings },
    ...(caching === undefined ? {} : { caching }),
    ...(transformers === undefined ? {} : { transformers }),
  });
  const log: string[] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      log.push(`${level} ${'code' in fields ? `${fields.code} ` : ''}${message}`);
    };
  const logger = { debug: () => undefined, info: write('info'), warn: write('warn'), error: write('error') };
  const connector = await openConfiguredConnector(config, { logger, ...environment, folder });
  const states: ConnectorState[] = [];
  const failures: NorthError[] = [];
  connector.on('state', ({ state }) => states.push(state));
  connector.on('failure', ({ error }) => failures.push(error));
  t.after(() => connector.close(CLOSE_TIMEOUT_MS));
  if (isStopped !== true) connector.start();

  const until: Subject['until'] = async (condition, describe, timeoutMs) => {
    let last: ConnectorStatus | undefined;
    await eventually(
      async () => {
        last = await connector.status();
        return condition(last);
      },
      () => `${describe}. The connector: ${summary(last)}`,
      timeoutMs,
    );
    return last!;
  };
  return {
    connector,
    folder,
    states,
    failures,
    log,
    status: () => connector.status(),
    async send(...messages) {
      const elements = messages.map((each) => (typeof each === 'string' ? { topic: 't', payload: each } : each));
      const { rejected } = await connector.accept({ type: 'messages', elements }, { source: 'test' });
      assert.deepEqual(rejected, []);
    },
    until,
    untilOnline: (timeoutMs) => until(({ state }) => state === 'online', 'it to be online', timeoutMs),
    untilEmpty: (timeoutMs) => until(isEmpty, 'nothing to wait or to be in flight', timeoutMs),
    untilFailed: (code) =>
      eventually(
        () => failures.find((error) => error.code === code),
        () => `a failure ${code}. It had: ${failures.map((error) => `${error.code} ${error.message}`).join(' | ')}`,
      ),
    close: (deadlineMs = CLOSE_TIMEOUT_MS) => connector.close(deadlineMs),
  };
}

export function isEmpty({ cache, inflight }: ConnectorStatus): boolean {
  const { command, alert, telemetry } = cache.waitingCounts;
  return command + alert + telemetry === 0 && inflight === 0;
}

function summary(status: ConnectorStatus | undefined): string {
  if (status === undefined) return 'no status came';
  const { description, lastError, warnings, counts, inflight, window, cache, reconnects, grant } = status;
  const { waitingCounts, quarantinedCount } = cache;
  return JSON.stringify({
    description,
    lastError: lastError?.message,
    warnings,
    telemetry: counts.telemetry,
    inflight,
    window,
    waitingCounts,
    quarantinedCount,
    reconnects,
    sessionPresent: grant?.sessionPresent,
  });
}

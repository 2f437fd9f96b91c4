/** What a connection test has found so far, step by step. */
import { isIP } from 'node:net';
import type { BrokerUrl } from '../config/broker-url.js';
import type { Clock } from '../core/clock.js';
import type { NorthError } from '../core/error.js';
import type { OpenedInfo, OpeningPhase } from '../transport/transport.js';
import type { TestStep, TestStepName } from './test-report.js';

export class TestSteps {
  readonly list: TestStep[] = [];
  /** The step that is under way. */
  current: TestStepName = 'dial';
  readonly #broker: BrokerUrl;
  readonly #clock: Clock;
  #startMs: number;

  constructor(broker: BrokerUrl, clock: Clock) {
    this.#broker = broker;
    this.#clock = clock;
    this.#startMs = clock.monotonicMs();
  }

  /** Since the last step was done, to a tenth. */
  get elapsedMs(): number {
    return Math.round((this.#clock.monotonicMs() - this.#startMs) * 10) / 10;
  }

  succeed(name: TestStepName, message: string): void {
    this.#note(name, true, message);
  }

  /** With TLS 1.3 a broker says only after the handshake that it does not take our certificate. */
  fail(error: NorthError): void {
    const name = stepOf(error, this.current);
    const index = this.list.findIndex((step) => step.name === name);
    if (index >= 0) this.list.length = index;
    this.#note(name, false, error.message);
  }

  /** A phase begins: the step before has succeeded. */
  entered(phase: OpeningPhase): void {
    const { host, port } = this.#broker;
    if (phase === 'resolving') this.current = 'resolve';
    else if (phase === 'dialing') {
      if (isIP(host) === 0) this.succeed('resolve', `${host} is known`);
      this.current = 'dial';
    } else if (phase === 'securing') {
      this.succeed('dial', `connected to ${host}:${port}`);
      this.current = 'tls';
    } else {
      const isSecured = this.current === 'tls';
      this.succeed(this.current, isSecured ? 'agreed' : `connected to ${host}:${port}`);
      this.current = 'websocket';
    }
  }

  /** The last step before is done, and what was found is known for all of them. */
  opened({ remoteAddress, tls }: OpenedInfo): void {
    this.succeed(this.current, `opened at ${this.#broker.path}`);
    this.#describe('dial', `connected to ${remoteAddress}`);
    if (tls !== undefined) {
      const until = tls.certificate === undefined ? '' : `, certificate valid until ${day(tls.certificate.validToMs)}`;
      this.#describe('tls', `${tls.protocol} with ${tls.cipher}${until}`);
    }
    this.current = 'connect';
  }

  #note(name: TestStepName, ok: boolean, message: string): void {
    this.list.push({ name, ok, message, elapsedMs: this.elapsedMs });
    this.#startMs = this.#clock.monotonicMs();
  }

  #describe(name: TestStepName, message: string): void {
    const index = this.list.findIndex((step) => step.name === name);
    const step = this.list[index];
    if (step !== undefined) this.list[index] = { ...step, message };
  }
}

function stepOf(error: NorthError, current: TestStepName): TestStepName {
  if (error.code.startsWith('TLS_') || error.code.startsWith('CERTIFICATE_')) return 'tls';
  return current;
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

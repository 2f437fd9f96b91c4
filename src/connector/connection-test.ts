/**
 * Connects as a connector would and says what it found, step by step.
 *
 * It uses a client id of its own and a clean session that ends with the connection. With the connector's own id it
 * would throw out the running connection, and a session that it opened in place of a lost one would later be taken
 * for the lost one.
 */
import { isIP } from 'node:net';
import type { IConnackPacket } from 'mqtt-packet';
import { type BrokerUrl, isThisMachine } from '../config/broker-url.js';
import { brokerUrls, type ConnectionSettings } from '../config/settings.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { connackError, disconnectError } from '../session/connect-error.js';
import { type OpenedInfo, type OpeningPhase, openTransport } from '../transport/transport.js';
import {
  type ConnackGrant,
  connackProblem,
  encodeConnect,
  encodeDisconnect,
  encodeLastDisconnect,
  grantOf,
  PINGREQ,
} from '../wire/control-packets.js';
import { PacketReader } from '../wire/packet-reader.js';
import type { Grant } from './connector.js';
import { guaranteeText } from './description.js';
import { completeGrant } from './grant.js';
import { handshakeFailure } from './handshake-failure.js';
import { transportOptions, willOf } from './settings-of.js';
import type { TestReport, TestStep, TestStepName } from './test-report.js';

export interface ConnectionTestOptions {
  settings: ConnectionSettings;
  /** The connector's client id; the test's own is made from it. */
  clientId: string;
  clock: Clock;
  signal?: AbortSignal;
}

/** Tests the brokers of the settings in order and reports the first that accepts, or the last failure. */
export async function testConnection(options: ConnectionTestOptions): Promise<TestReport> {
  let report: TestReport | undefined;
  for (const broker of brokerUrls(options.settings)) {
    const { protocolVersion } = options.settings;
    report = await new ConnectionTest(options, broker, protocolVersion === '3.1.1' ? 4 : 5).run();
    const code = report.error?.code;
    const mayBeOld = code === 'BROKER_VERSION' || code === 'BROKER_CLOSED' || code === 'BROKER_NOT_MQTT';
    if (!report.ok && protocolVersion === 'auto' && mayBeOld) {
      const old = await new ConnectionTest(options, broker, 4).run();
      if (old.ok || code === 'BROKER_VERSION') report = old;
    }
    if (report.ok || options.signal?.aborted === true) return report;
  }
  if (report === undefined) throw new NorthError('CONFIG_INVALID', 'The settings name no broker.');
  return report;
}

class ConnectionTest {
  readonly #options: ConnectionTestOptions;
  readonly #broker: BrokerUrl;
  readonly #protocolVersion: 4 | 5;
  readonly #steps: TestStep[] = [];
  readonly #warnings: string[] = [];
  readonly #startMs: number;
  #stepStartMs: number;
  #grant: Grant | undefined;
  #roundTripMs: number | undefined;
  #opened: OpenedInfo | undefined;
  /** The step that is under way. */
  #step: TestStepName = 'dial';

  constructor(options: ConnectionTestOptions, broker: BrokerUrl, protocolVersion: 4 | 5) {
    this.#options = options;
    this.#broker = broker;
    this.#protocolVersion = protocolVersion;
    this.#startMs = options.clock.monotonicMs();
    this.#stepStartMs = this.#startMs;
  }

  async run(): Promise<TestReport> {
    const error = await new Promise<NorthError | undefined>((resolve) => this.#connect(resolve));
    if (error !== undefined) this.#noteFailure(error);
    const expiry = this.#opened?.tls?.certificate?.validToMs;
    const { settings } = this.#options;
    return {
      ok: error === undefined,
      steps: this.#steps,
      grant: this.#grant,
      guarantee:
        this.#grant === undefined
          ? undefined
          : guaranteeText(
              {
                qos: settings.qos,
                persistent: settings.persistent,
                sessionExpirySeconds: settings.sessionExpiryInterval,
                isDowngraded: false,
                isSessionLost: false,
              },
              this.#grant,
            ),
      roundTripMs: this.#roundTripMs,
      certificateExpiresAt: expiry === undefined ? undefined : new Date(expiry).toISOString(),
      warnings: this.#warnings,
      error:
        error === undefined
          ? undefined
          : { code: error.code, message: `${this.#broker.display}: ${error.message}`, remedy: error.remedy },
    };
  }

  #note(name: TestStepName, ok: boolean, message: string): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#steps.push({ name, ok, message, elapsedMs: Math.round((nowMs - this.#stepStartMs) * 10) / 10 });
    this.#stepStartMs = nowMs;
  }

  /** With TLS 1.3 a broker says only after the handshake that it does not take our certificate. */
  #noteFailure(error: NorthError): void {
    const name = stepOf(error, this.#step);
    const index = this.#steps.findIndex((step) => step.name === name);
    if (index >= 0) this.#steps.length = index;
    this.#note(name, false, error.message);
  }

  #connect(resolve: (error: NorthError | undefined) => void): void {
    const { settings, clock, signal } = this.#options;
    let isDone = false;
    let cancelTimeout: (() => void) | undefined;
    const finish = (error: NorthError | undefined): void => {
      if (isDone) return;
      isDone = true;
      cancelTimeout?.();
      signal?.removeEventListener('abort', abort);
      if (this.#grant === undefined) transport.destroy();
      else {
        // Without a farewell the broker would publish the will of a connector that is perhaps running.
        transport.write(this.#keepsSession ? encodeLastDisconnect() : encodeDisconnect(this.#protocolVersion));
        transport.end();
      }
      resolve(error);
    };
    const abort = (): void => finish(new NorthError('SERVICE_STOPPING', 'The test was cancelled.'));
    const reader = new PacketReader(this.#protocolVersion, {
      acknowledged: () => finish(new NorthError('BROKER_PROTOCOL', 'An acknowledgement came that belongs to nothing.')),
      malformed: (problem) =>
        finish(new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)),
      packet: (packet) => {
        if (packet.cmd === 'connack') {
          const refused = refusalIn(packet, this.#protocolVersion);
          if (refused !== undefined) {
            finish(refused);
            return;
          }
          this.#accepted(grantOf(packet));
          this.#step = 'ping';
          transport.write(PINGREQ);
        } else if (packet.cmd === 'pingresp') {
          this.#roundTripMs = Math.round((clock.monotonicMs() - this.#stepStartMs) * 10) / 10;
          this.#note('ping', true, `round trip ${this.#roundTripMs} ms`);
          this.#note('disconnect', true, 'disconnected in order');
          finish(undefined);
        } else if (packet.cmd === 'disconnect') {
          finish(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
        }
      },
    });
    const options = { ...transportOptions(settings, this.#broker, settings.connectTimeout), clock };
    const transport = openTransport(options, {
      entered: (phase) => this.#entered(phase),
      opened: (info) => {
        this.#opened = info;
        this.#noteOpened(info);
        cancelTimeout = this.#limitAnswers(finish);
        this.#step = 'connect';
        transport.write(this.#connectPacket());
      },
      received: (bytes) => reader.read(bytes),
      drained: () => undefined,
      closed: (error) =>
        finish(
          this.#step === 'connect'
            ? handshakeFailure(error)
            : (error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection.')),
        ),
    });
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort);
  }

  /** Up to here the transport has kept the connect timeout; the broker's answers have to come within it, too. */
  #limitAnswers(finish: (error: NorthError) => void): () => void {
    const { settings, clock } = this.#options;
    const leftMs = Math.max(0, this.#startMs + settings.connectTimeout - clock.monotonicMs());
    return clock.schedule(leftMs, () => {
      const missing = this.#grant === undefined ? 'it is open, but no CONNACK came' : 'a ping was not answered';
      finish(new NorthError('BROKER_TIMEOUT', `No answer within ${settings.connectTimeout} ms: ${missing}.`));
    });
  }

  /** The step before has succeeded. */
  #entered(phase: OpeningPhase): void {
    const { host, port } = this.#broker;
    if (phase === 'resolving') this.#step = 'resolve';
    else if (phase === 'dialing') {
      if (isIP(host) === 0) this.#note('resolve', true, `${host} is known`);
      this.#step = 'dial';
    } else if (phase === 'securing') {
      this.#note('dial', true, `connected to ${host}:${port}`);
      this.#step = 'tls';
    } else {
      const isSecured = this.#step === 'tls';
      this.#note(this.#step, true, isSecured ? 'agreed' : `connected to ${host}:${port}`);
      this.#step = 'websocket';
    }
  }

  /** How long a broker keeps the session shows only when a lasting one is asked for; it is given back at the end. */
  get #keepsSession(): boolean {
    return this.#protocolVersion === 5 && this.#options.settings.persistent;
  }

  #connectPacket(): Buffer {
    const { settings, clientId } = this.#options;
    const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
    return encodeConnect({
      protocolVersion: this.#protocolVersion,
      clientId: `${clientId}-test`,
      cleanStart: true,
      sessionExpirySeconds: this.#keepsSession ? settings.sessionExpiryInterval : 0,
      keepaliveSeconds: settings.keepalive,
      username: basic?.username,
      password: basic?.password.reveal(),
      will: willOf(settings),
    });
  }

  /** The last step before is done, and what was found is known for all of them. */
  #noteOpened({ remoteAddress, tls }: OpenedInfo): void {
    this.#note(this.#step, true, `opened at ${this.#broker.path}`);
    this.#describe('dial', `connected to ${remoteAddress}`);
    if (tls !== undefined) {
      const until = tls.certificate === undefined ? '' : `, certificate valid until ${day(tls.certificate.validToMs)}`;
      this.#describe('tls', `${tls.protocol} with ${tls.cipher}${until}`);
      if (tls.authorizationError !== undefined) {
        this.#warnings.push(`The broker's certificate is not verified: ${tls.authorizationError.message}`);
      }
    } else if (!isThisMachine(this.#broker.host)) {
      this.#warnings.push('The connection is not encrypted: not for production.');
    }
  }

  #describe(name: TestStepName, message: string): void {
    const index = this.#steps.findIndex((step) => step.name === name);
    const step = this.#steps[index];
    if (step !== undefined) this.#steps[index] = { ...step, message };
  }

  #accepted(grant: ConnackGrant): void {
    const { settings, clientId } = this.#options;
    const attempt = { broker: this.#broker, protocolVersion: this.#protocolVersion };
    this.#grant = completeGrant(grant, attempt, settings, `${clientId}-test`, this.#keepsSession);
    if (this.#protocolVersion === 4) this.#warnings.push(SILENT_REFUSALS);
    this.#note('connect', true, `accepted, MQTT ${this.#protocolVersion === 5 ? '5' : '3.1.1'}`);
  }
}

const SILENT_REFUSALS =
  'MQTT 3.1.1 has no answer for a message that is refused: what the access rules of the broker forbid may be ' +
  'acknowledged and dropped. Use MQTT 5 where the broker speaks it, or check with a subscriber that messages arrive.';

function refusalIn(packet: IConnackPacket, protocolVersion: 4 | 5): NorthError | undefined {
  const refused = connackError(packet, protocolVersion);
  if (refused !== undefined) return refused;
  const problem = connackProblem(packet);
  return problem === undefined
    ? undefined
    : new NorthError('BROKER_PROTOCOL', `The CONNACK of the broker cannot be used: ${problem}.`);
}

function stepOf(error: NorthError, current: TestStepName): TestStepName {
  if (error.code.startsWith('TLS_') || error.code.startsWith('CERTIFICATE_')) return 'tls';
  return current;
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

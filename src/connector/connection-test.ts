/**
 * Connects as a connector would and says what it found, step by step.
 *
 * It uses a client id of its own and a clean session that ends with the connection. With the connector's own id it
 * would throw out the running connection, and a session that it opened in place of a lost one would later be taken
 * for the lost one.
 */
import { type BrokerUrl, isThisMachine } from '../config/broker-url.js';
import { brokerUrls, type ConnectionSettings } from '../config/settings.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { connackError, disconnectError } from '../session/connect-error.js';
import { type OpenedInfo, openTransport } from '../transport/transport.js';
import { type ConnackGrant, encodeConnect, encodeDisconnect, grantOf, PINGREQ } from '../wire/control-packets.js';
import { PacketReader } from '../wire/packet-reader.js';
import type { Grant } from './connector.js';
import { guaranteeText } from './description.js';
import { completeGrant } from './grant.js';
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
  #stepStartMs: number;
  #grant: Grant | undefined;
  #roundTripMs: number | undefined;
  #opened: OpenedInfo | undefined;
  #step: TestStepName = 'dial';

  constructor(options: ConnectionTestOptions, broker: BrokerUrl, protocolVersion: 4 | 5) {
    this.#options = options;
    this.#broker = broker;
    this.#protocolVersion = protocolVersion;
    this.#stepStartMs = options.clock.monotonicMs();
  }

  async run(): Promise<TestReport> {
    const error = await new Promise<NorthError | undefined>((resolve) => this.#connect(resolve));
    if (error !== undefined) this.#note(stepOf(error, this.#step), false, error.message);
    const expiry = this.#opened?.tls?.certificate?.validToMs;
    const { settings } = this.#options;
    return {
      ok: error === undefined,
      steps: this.#steps,
      grant: this.#grant,
      guarantee:
        this.#grant === undefined ? undefined : guaranteeText(settings.qos, settings.persistent, this.#grant, false),
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

  #connect(resolve: (error: NorthError | undefined) => void): void {
    const { settings, clock, signal } = this.#options;
    let isDone = false;
    const finish = (error: NorthError | undefined): void => {
      if (isDone) return;
      isDone = true;
      cancel();
      signal?.removeEventListener('abort', abort);
      transport.destroy();
      resolve(error);
    };
    const abort = (): void => finish(new NorthError('SERVICE_STOPPING', 'The test was cancelled.'));
    const cancel = clock.schedule(settings.connectTimeout, () => {
      const phase = this.#opened === undefined ? 'no connection came to be' : 'it is open, but no CONNACK came';
      finish(new NorthError('BROKER_TIMEOUT', `No answer within ${settings.connectTimeout} ms: ${phase}.`));
    });
    const reader = new PacketReader(this.#protocolVersion, {
      acknowledged: () => finish(new NorthError('BROKER_PROTOCOL', 'An acknowledgement came that belongs to nothing.')),
      malformed: (problem) =>
        finish(new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)),
      packet: (packet) => {
        if (packet.cmd === 'connack') {
          const refused = connackError(packet, this.#protocolVersion);
          if (refused !== undefined) {
            finish(refused);
            return;
          }
          this.#accepted(grantOf(packet));
          this.#step = 'ping';
          transport.write(PINGREQ);
        } else if (packet.cmd === 'pingresp') {
          this.#roundTripMs = Math.round((clock.monotonicMs() - this.#stepStartMs) * 100) / 100;
          this.#note('ping', true, `round trip ${this.#roundTripMs} ms`);
          transport.write(encodeDisconnect(this.#protocolVersion));
          this.#note('disconnect', true, 'disconnected in order');
          finish(undefined);
        } else if (packet.cmd === 'disconnect') {
          finish(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
        }
      },
    });
    const transport = openTransport(transportOptions(settings, this.#broker, settings.connectTimeout), {
      opened: (info) => {
        this.#opened = info;
        this.#noteOpened(info);
        this.#step = 'connect';
        transport.write(this.#connectPacket());
      },
      received: (bytes) => reader.read(bytes),
      drained: () => undefined,
      closed: (error) =>
        finish(
          this.#step === 'connect' && error?.code === 'CONNECTION_LOST'
            ? new NorthError('BROKER_CLOSED', 'The broker closed the connection instead of answering CONNECT.')
            : (error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection.')),
        ),
    });
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort);
  }

  #connectPacket(): Buffer {
    const { settings, clientId } = this.#options;
    const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
    return encodeConnect({
      protocolVersion: this.#protocolVersion,
      clientId: `${clientId}-test`,
      cleanStart: true,
      sessionExpirySeconds: 0,
      keepaliveSeconds: settings.keepalive,
      username: basic?.username,
      password: basic?.password.reveal(),
      will: willOf(settings),
    });
  }

  #noteOpened(info: OpenedInfo): void {
    this.#note('dial', true, `connected to ${info.remoteAddress}`);
    const { tls } = info;
    if (tls !== undefined) {
      const until = tls.certificate === undefined ? '' : `, certificate valid until ${day(tls.certificate.validToMs)}`;
      this.#note('tls', true, `${tls.protocol} with ${tls.cipher}${until}`);
      if (tls.authorizationError !== undefined) {
        this.#warnings.push(`The broker's certificate is not verified: ${tls.authorizationError.message}`);
      }
    } else if (!isThisMachine(this.#broker.host)) {
      this.#warnings.push('The connection is not encrypted: not for production.');
    }
    if (this.#broker.websocket) this.#note('websocket', true, `opened at ${this.#broker.path}`);
  }

  #accepted(grant: ConnackGrant): void {
    const { settings, clientId } = this.#options;
    const attempt = { broker: this.#broker, protocolVersion: this.#protocolVersion };
    this.#grant = completeGrant(grant, attempt, settings, `${clientId}-test`, false);
    this.#note('connect', true, `accepted, MQTT ${this.#protocolVersion === 5 ? '5' : '3.1.1'}`);
  }
}

function stepOf(error: NorthError, current: TestStepName): TestStepName {
  if (error.code === 'BROKER_UNRESOLVED') return 'resolve';
  if (error.code === 'WEBSOCKET_REFUSED') return 'websocket';
  if (error.code.startsWith('TLS_') || error.code.startsWith('CERTIFICATE_')) return 'tls';
  return current;
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10);
}

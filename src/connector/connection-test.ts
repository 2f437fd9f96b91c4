/**
 * Connects as a connector would and says what it found, step by step.
 *
 *     connect, ping, disconnect -> connect again: is the session still there? -> MQTT 3.1.1: end it, and ask for QoS 2
 *
 * It uses a client id and a session of its own, which it gives back at the end. With the connector's own id it would
 * throw out the running connection, and a session that it opened in place of a lost one would later be taken for the
 * lost one.
 */
import { type BrokerUrl, isThisMachine } from '../config/broker-url.js';
import { brokerUrls, type ConnectionSettings } from '../config/settings.js';
import type { Clock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import type { QoS } from '../core/message.js';
import { disconnectError } from '../session/connect-error.js';
import { type OpenedInfo, openTransport } from '../transport/transport.js';
import {
  type ConnackGrant,
  encodeConnect,
  encodeDisconnect,
  encodeLastDisconnect,
  PINGREQ,
} from '../wire/control-packets.js';
import { PacketReader } from '../wire/packet-reader.js';
import { type BriefAnswer, type BriefConnectionOptions, connectBriefly, endSession } from './brief-connection.js';
import { readConnack } from './connack.js';
import type { Grant } from './connector.js';
import { guaranteeText } from './description.js';
import { completeGrant } from './grant.js';
import { handshakeFailure } from './handshake-failure.js';
import { transportOptions, willOf } from './settings-of.js';
import type { TestReport } from './test-report.js';
import { TestSteps } from './test-steps.js';

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
    if (report.grant === undefined && protocolVersion === 'auto' && mayBeOld) {
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
  readonly #clientId: string;
  readonly #steps: TestSteps;
  readonly #warnings: string[] = [];
  readonly #startMs: number;
  #grant: Grant | undefined;
  /** The broker may have a session of the test. */
  #isSessionOpen = false;
  #isSessionKept: boolean | undefined;
  #subscribedQos: QoS | undefined;
  #roundTripMs: number | undefined;
  #opened: OpenedInfo | undefined;

  constructor(options: ConnectionTestOptions, broker: BrokerUrl, protocolVersion: 4 | 5) {
    this.#options = options;
    this.#broker = broker;
    this.#protocolVersion = protocolVersion;
    this.#clientId = `${options.clientId}-test`;
    this.#steps = new TestSteps(broker, options.clock);
    this.#startMs = options.clock.monotonicMs();
  }

  async run(): Promise<TestReport> {
    const error = await this.#test();
    if (error !== undefined) this.#steps.fail(error);
    await this.#giveBackSession();
    const expiry = this.#opened?.tls?.certificate?.validToMs;
    return {
      ok: error === undefined,
      steps: this.#steps.list,
      grant: this.#grant,
      isSessionKept: this.#isSessionKept,
      subscribedQos: this.#subscribedQos,
      guarantee: this.#grant === undefined ? undefined : this.#guaranteeOf(this.#grant),
      roundTripMs: this.#roundTripMs,
      certificateExpiresAt: expiry === undefined ? undefined : new Date(expiry).toISOString(),
      warnings: this.#warnings,
      error:
        error === undefined
          ? undefined
          : { code: error.code, message: `${this.#broker.display}: ${error.message}`, remedy: error.remedy },
    };
  }

  /** What was seen counts more than what was announced. */
  #guaranteeOf(grant: Grant): string {
    const { qos, persistent, sessionExpiryInterval } = this.#options.settings;
    return guaranteeText(
      {
        qos,
        persistent,
        sessionExpirySeconds: sessionExpiryInterval,
        isDowngraded: false,
        isSessionLost: false,
        isInDoubt: false,
        isQos2Proven: this.#subscribedQos === 2,
      },
      {
        ...grant,
        maximumQos: this.#subscribedQos ?? grant.maximumQos,
        sessionExpirySeconds: this.#isSessionKept === false ? 0 : grant.sessionExpirySeconds,
      },
    );
  }

  async #test(): Promise<NorthError | undefined> {
    const { settings } = this.#options;
    const error = await new Promise<NorthError | undefined>((resolve) => this.#connect(resolve));
    if (error !== undefined) return error;
    const again = settings.persistent ? await this.#connectAgain() : undefined;
    if (again !== undefined) return again;
    return this.#protocolVersion === 4 && settings.qos === 2 ? this.#askForQos2() : undefined;
  }

  #connect(resolve: (error: NorthError | undefined) => void): void {
    const { settings, clock, signal } = this.#options;
    let isDone = false;
    let cancelTimeout: (() => void) | undefined;
    const finish = (error: NorthError | undefined): void => {
      if (isDone) return;
      isDone = true;
      cancelTimeout?.();
      if (this.#grant === undefined) transport.destroy();
      else {
        // Without a farewell the broker would publish the will of a connector that is perhaps running.
        transport.write(this.#farewell(error));
        transport.end();
      }
      if (error !== undefined) resolve(error);
    };
    const abort = (): void => {
      const error = cancelled();
      finish(error);
      resolve(error);
    };
    const reader = new PacketReader(this.#protocolVersion, {
      acknowledged: () => finish(new NorthError('BROKER_PROTOCOL', 'An acknowledgement came that belongs to nothing.')),
      malformed: (problem) =>
        finish(new NorthError('BROKER_NOT_MQTT', `What answers does not speak MQTT: ${problem}.`)),
      packet: (packet) => {
        if (isDone) return;
        if (packet.cmd === 'connack') {
          const answer = readConnack(packet, this.#protocolVersion);
          if (answer instanceof NorthError) finish(answer);
          else {
            this.#accepted(answer);
            transport.write(PINGREQ);
          }
        } else if (packet.cmd === 'pingresp') {
          this.#roundTripMs = this.#steps.elapsedMs;
          this.#steps.succeed('ping', `round trip ${this.#roundTripMs} ms`);
          this.#steps.succeed('disconnect', 'disconnected in order');
          finish(undefined);
        } else if (packet.cmd === 'disconnect') {
          finish(disconnectError(packet.reasonCode ?? 0, packet.properties?.reasonString));
        }
      },
    });
    const options = { ...transportOptions(settings, this.#broker, settings.connectTimeout), clock };
    const transport = openTransport(options, {
      entered: (phase) => this.#steps.entered(phase),
      opened: (info) => {
        this.#noteOpened(info);
        cancelTimeout = this.#limitAnswers(finish);
        transport.write(this.#connectPacket());
      },
      received: (bytes) => reader.read(bytes),
      drained: () => undefined,
      closed: (error) => {
        signal?.removeEventListener('abort', abort);
        finish(this.#steps.current === 'connect' ? handshakeFailure(error) : (error ?? closedError()));
        // The next connection begins after this one has ended: it would take it over otherwise, and the broker would
        // publish the will.
        resolve(undefined);
      },
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

  #connectPacket(): Buffer {
    const { settings } = this.#options;
    const basic = settings.authentication.type === 'basic' ? settings.authentication : undefined;
    return encodeConnect({
      protocolVersion: this.#protocolVersion,
      clientId: this.#clientId,
      // A clean session of MQTT 3.1.1 ends with its connection [MQTT 3.1.1 §3.1.2.4].
      cleanStart: this.#protocolVersion === 5 || !settings.persistent,
      sessionExpirySeconds: settings.persistent ? settings.sessionExpiryInterval : 0,
      keepaliveSeconds: settings.keepalive,
      username: basic?.username,
      password: basic?.password.reveal(),
      will: willOf(settings),
    });
  }

  #noteOpened(info: OpenedInfo): void {
    const { tls } = info;
    this.#opened = info;
    this.#steps.opened(info);
    if (tls?.authorizationError !== undefined) {
      this.#warnings.push(`The broker's certificate is not verified: ${tls.authorizationError.message}`);
    }
    if (tls === undefined && !isThisMachine(this.#broker.host)) {
      this.#warnings.push('The connection is not encrypted: not for production.');
    }
  }

  #accepted(grant: ConnackGrant): void {
    const { settings } = this.#options;
    const attempt = { broker: this.#broker, protocolVersion: this.#protocolVersion };
    this.#grant = completeGrant(grant, attempt, settings, this.#clientId, settings.persistent);
    this.#isSessionOpen = settings.persistent;
    if (this.#protocolVersion === 4) this.#warnings.push(SILENT_REFUSALS);
    this.#steps.succeed('connect', `accepted, MQTT ${this.#protocolVersion === 5 ? '5' : '3.1.1'}`);
    this.#steps.current = 'ping';
  }

  /** The session is needed for the next connection, but only when there is one. */
  #farewell(error: NorthError | undefined): Buffer {
    if (error === undefined || this.#protocolVersion === 4) return encodeDisconnect(this.#protocolVersion);
    this.#isSessionOpen = false;
    return encodeLastDisconnect();
  }

  /** Whether a broker keeps sessions shows only when the next connection asks for one. */
  async #connectAgain(): Promise<NorthError | undefined> {
    this.#steps.current = 'session';
    const answer = await this.#ask(this.#briefConnection('resumed'));
    if (answer instanceof NorthError) return answer;
    if (this.#protocolVersion === 5) this.#isSessionOpen = false;
    this.#isSessionKept = answer.grant.sessionPresent;
    const text = 'kept by the broker until the next connection';
    this.#steps.succeed('session', this.#isSessionKept ? text : `not ${text}`);
    return undefined;
  }

  /**
   * The broker is asked for a subscription at QoS 2, on a clean session, and says what it grants: that shows a limit
   * without anything being published. Not being allowed to subscribe is no fault of a publisher.
   */
  async #askForQos2(): Promise<NorthError | undefined> {
    this.#steps.current = 'qos';
    const topic = `mqtt-north/test/${this.#clientId.replaceAll(/[+#\0]/g, '_')}`;
    const answer = await this.#ask({ ...this.#briefConnection('ended'), topic });
    if (answer instanceof NorthError) {
      if (this.#options.signal?.aborted === true) return answer;
      this.#steps.succeed('qos', `not known whether the broker takes QoS 2: ${answer.message}`);
      return undefined;
    }
    this.#isSessionOpen = false;
    const { subscribedQos = 0 } = answer;
    this.#subscribedQos = subscribedQos;
    this.#steps.succeed('qos', `the broker grants QoS ${subscribedQos} to a subscription`);
    if (subscribedQos < 2) this.#warnings.push(qos2RefusalText(subscribedQos));
    return undefined;
  }

  async #ask(options: BriefConnectionOptions): Promise<BriefAnswer | NorthError> {
    try {
      return await connectBriefly(options);
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      return this.#options.signal?.aborted === true ? cancelled() : error;
    }
  }

  async #giveBackSession(): Promise<void> {
    if (!this.#isSessionOpen) return;
    const ended = endSession({ ...this.#briefConnection('ended'), signal: undefined });
    // Whoever has given the test up waits for nothing any more.
    if (this.#options.signal?.aborted !== true) await ended;
  }

  #briefConnection(session: 'resumed' | 'ended'): BriefConnectionOptions {
    const { settings, clock, signal } = this.#options;
    return {
      settings,
      broker: this.#broker,
      protocolVersion: this.#protocolVersion,
      clientId: this.#clientId,
      session,
      timeoutMs: settings.connectTimeout,
      clock,
      signal,
    };
  }
}

const SILENT_REFUSALS =
  'MQTT 3.1.1 has no answer for a message that is refused: what the access rules of the broker forbid may be ' +
  'acknowledged and dropped. Use MQTT 5 where the broker speaks it, or check with a subscriber that messages arrive.';

/** Under MQTT 5 the broker announces it, and we send no more than it takes. */
function qos2RefusalText(granted: QoS): string {
  return (
    `Over MQTT 3.1.1 this broker grants QoS ${granted} only, and may close the connection at every message of QoS 2, so ` +
    `that nothing gets through. Set qos to ${granted}, or use MQTT 5 where the broker speaks it.`
  );
}

function closedError(): NorthError {
  return new NorthError('BROKER_CLOSED', 'The broker closed the connection.');
}

function cancelled(): NorthError {
  return new NorthError('SERVICE_STOPPING', 'The test was cancelled.', { remedy: 'Start it again.' });
}

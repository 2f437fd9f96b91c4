/** The broker of the run: one inside this process, or that of a URL, with a subscriber that sees what arrives. */
import type { ConnectorConfig, ConnectorInput } from '../config/connector.js';
import { brokerUrls } from '../config/settings.js';
import { endSession } from '../connector/brief-connection.js';
import { testConnection } from '../connector/connection-test.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { openEmbeddedBroker } from '../service/embedded-broker.js';
import { type ArrivalWatch, openArrivalWatch } from './arrival-watch.js';
import { checkBroker } from './broker-check.js';
import type { Check } from './check.js';
import type { CrashRunResult } from './crash-run.js';
import type { Promised } from './delivery-checks.js';
import { stoppedError } from './stopped.js';

/** In the process, nothing is dropped between broker and subscriber. */
const UNDER_WAY_MAX_EMBEDDED = 3000;
/** Half of what common brokers queue for a subscriber before they drop. */
const UNDER_WAY_MAX = 500;

export interface Target {
  /** The settings for the connector of the run. */
  settings: ConnectorInput['settings'];
  underWayMax: number;
  /** What broker and subscriber allow to promise, known at the end of the run. */
  promised(run: CrashRunResult): Promised;
  check(run: CrashRunResult): Check;
  close(): Promise<void>;
}

export interface TargetOptions {
  /** Unique for this run. */
  prefix: string;
  clientId: string;
  arrived(topic: string, payload: Buffer): void;
}

export async function openEmbeddedTarget({ prefix, clientId, arrived }: TargetOptions): Promise<Target> {
  const broker = await openEmbeddedBroker(0);
  await broker.subscribe(`${prefix}/#`, ({ topic, payload }) => arrived(topic, payload));
  return {
    settings: {
      url: broker.url,
      qos: 2,
      // Aedes speaks 3.1.1 only; with `auto` each life would ask for 5 first.
      protocolVersion: '3.1.1',
      clientId,
      topicPrefix: prefix,
      reconnectPeriod: 100,
    },
    underWayMax: UNDER_WAY_MAX_EMBEDDED,
    promised: ({ sessionsLost }) => ({ lossReason: undefined, repeatReason: sessionReason(sessionsLost) }),
    check: (run) => checkBroker(run, { found: 'embedded broker, MQTT 3.1.1, QoS 2, keeps its sessions while it runs' }),
    close: () => broker.close(),
  };
}

/**
 * Tests the connection, subscribes, and only then says that there is a target. Rejects with what `mqtt-north test` would
 * say, too, and with SERVICE_STOPPING when the signal comes; then it has left no session at the broker.
 */
export async function openUrlTarget(
  connection: ConnectorInput['settings'],
  config: ConnectorConfig,
  { prefix, clientId, arrived, signal }: TargetOptions & { signal: AbortSignal },
): Promise<Target> {
  const { settings } = config;
  const clock = systemClock();
  const report = await testConnection({ settings, clientId, clock, signal });
  const { grant, error } = report;
  if (signal.aborted) throw stoppedError();
  if (error !== undefined) throw new NorthError(error.code as NorthError['code'], error.message, error);
  const [broker] = brokerUrls(settings);
  if (grant === undefined || broker === undefined) throw new NorthError('INTERNAL', 'The broker granted nothing.');
  const { protocolVersion } = grant;
  const watchId = `${clientId}-watch`;
  const connect = { settings, broker, protocolVersion };
  const endSessions = async (...ids: readonly string[]): Promise<void> => {
    await Promise.all(ids.map((id) => endSession({ ...connect, clientId: id, clock })));
  };
  let watch: ArrivalWatch;
  try {
    watch = await openArrivalWatch({ ...connect, clientId: watchId, filter: `${prefix}/#`, arrived, signal });
  } catch (problem) {
    await endSessions(watchId);
    throw problem;
  }
  // MQTT 3.1.1 announces no maximum; what it grants to a subscriber is what is known of it.
  const maximumQos = protocolVersion === 5 ? grant.maximumQos : watch.grantedQos;
  const promised = ({ sessionsLost, isDowngraded }: CrashRunResult): Promised => {
    const lossReason = watch.isBroken
      ? 'the broker forgot the subscription of the self-test when its connection was lost'
      : maximumQos === 0
        ? 'this broker grants QoS 0'
        : undefined;
    const repeatReason =
      maximumQos < 2 || isDowngraded
        ? `this broker grants QoS ${Math.min(maximumQos, 1)}`
        : watch.grantedQos < 2
          ? `this broker delivers to subscribers at QoS ${watch.grantedQos}`
          : report.isSessionKept === false
            ? 'this broker keeps no session'
            : sessionReason(sessionsLost);
    return { lossReason, repeatReason };
  };
  // Under MQTT 5 the session sends at what the broker grants; under 3.1.1 nothing would get through at more than that.
  const qos = protocolVersion === 4 && maximumQos < 2 ? maximumQos : 2;
  return {
    settings: { ...connection, qos, clientId, topicPrefix: prefix, reconnectPeriod: 500 },
    underWayMax: UNDER_WAY_MAX,
    promised,
    check(run) {
      const version = protocolVersion === 5 ? '5' : '3.1.1';
      const granted = protocolVersion === 5 ? `maximum QoS ${maximumQos}` : 'maximum QoS not announced';
      const found = `${broker.display}, MQTT ${version}, ${granted}, subscriber at QoS ${watch.grantedQos}`;
      const weakness = promised(run).repeatReason;
      return checkBroker(run, { found, weakness, guarantee: report.guarantee, mayRefuseQos2: qos < 2 });
    },
    close: async () => {
      watch.close();
      await endSessions(clientId, watchId);
    },
  };
}

function sessionReason(sessionsLost: number): string | undefined {
  if (sessionsLost === 0) return undefined;
  return `the broker lost our session ${sessionsLost === 1 ? 'once' : `${sessionsLost} times`} in this run`;
}

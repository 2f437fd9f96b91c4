/** The broker of a case: a mosquitto of its own on loopback. */
import { spawnSync } from 'node:child_process';
import { type Mosquitto, startMosquitto } from '../test/kit/mosquitto.js';
import { CpuShare } from './cpu-share.js';

/**
 * How many messages the broker lets a client have in flight. `default` is what mosquitto does when nobody has changed
 * it: 20, announced as Receive Maximum in MQTT 5. `none` is `max_inflight_messages 0`.
 */
export type BrokerLimit = 'default' | 'none';

export const DEFAULT_LIMIT_COUNT = 20;

export interface BenchBroker extends Pick<Mosquitto, 'port' | 'url' | 'restart' | 'kill' | 'stop'> {
  readonly pid: number;
  /** Measures, from now on, the share of a core that the process that runs now takes. */
  watchCpu(): CpuShare;
}

/** Starts one without persistence, so that its disk is no part of what is measured. It ends with this process. */
export async function startBroker(limit: BrokerLimit, extra: readonly string[] = []): Promise<BenchBroker> {
  const mosquitto = await startMosquitto({ extra, ...(limit === 'none' ? { maxInflight: 0 } : {}) });
  return {
    port: mosquitto.port,
    url: mosquitto.url,
    get pid() {
      return mosquitto.pid;
    },
    watchCpu: () => new CpuShare(mosquitto.pid),
    restart: () => mosquitto.restart(),
    kill: () => mosquitto.kill(),
    stop: () => mosquitto.stop(),
  };
}

/** Gives a broker to `use`, and ends it afterwards. */
export async function withBroker<T>(limit: BrokerLimit, use: (broker: BenchBroker) => Promise<T>): Promise<T> {
  const broker = await startBroker(limit);
  try {
    return await use(broker);
  } finally {
    await broker.stop();
  }
}

/** `mosquitto 2.0.11`, as the program itself says. */
export function brokerVersion(): string {
  // Debian keeps the broker where an ordinary user's PATH may not lead.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin` };
  const { stdout } = spawnSync('mosquitto', ['-h'], { encoding: 'utf8', env });
  const version = /mosquitto version (\S+)/.exec(stdout ?? '')?.[1];
  return version === undefined ? 'mosquitto' : `mosquitto ${version}`;
}

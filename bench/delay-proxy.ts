/**
 * A line to the broker that takes its time: half of the round trip in each direction, with all the throughput of the
 * machine. It is a process of its own, so that it takes no part of the event loop of what is measured; it does take a
 * part of the two cores, and therefore also the round trip of 0 is measured through it.
 */
import { startScript } from '../test/kit/process.js';
import { CpuShare } from './cpu-share.js';

export interface DelayProxyOptions {
  targetPort: number;
  /** What is added to a round trip; 0 passes everything on at once. */
  roundTripMs: number;
}

export interface DelayProxy {
  readonly port: number;
  /** `mqtt://127.0.0.1:port`. */
  readonly url: string;
  readonly pid: number;
  watchCpu(): CpuShare;
  stop(): Promise<void>;
}

export async function startDelayProxy(options: DelayProxyOptions): Promise<DelayProxy> {
  const process = startScript('bench/delay-proxy-main.js', [JSON.stringify(options)]);
  const [, port = ''] = await process.waitForOutput(/listens on (\d+)/);
  return {
    port: Number(port),
    url: `mqtt://127.0.0.1:${port}`,
    pid: process.pid,
    watchCpu: () => new CpuShare(process.pid),
    async stop() {
      await process.kill('SIGTERM');
    },
  };
}

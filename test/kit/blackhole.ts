import { connect, type Socket } from 'node:net';
import { startProcess } from './process.js';

export interface Blackhole {
  readonly port: number;
  /** Lets the port accept from now on; who is still trying gets through with his next packet, after some seconds. */
  release(): void;
  close(): Promise<void>;
}

const LISTENER = `
require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
  console.log('port', this.address().port);
});`;
const FILLERS_MAX = 64;

/**
 * A port of this machine that drops every attempt to connect, as a firewall does: nothing refuses, nothing answers.
 *
 * It belongs to a process that is stopped and so accepts nothing, and its queue of connections is full.
 */
export async function startBlackhole(): Promise<Blackhole> {
  const listener = startProcess(process.execPath, ['-e', LISTENER]);
  const port = Number((await listener.waitForOutput(/port (\d+)/))[1]);
  process.kill(listener.pid, 'SIGSTOP');
  const fillers: Socket[] = [];
  while (await isQueued(port, fillers)) {
    if (fillers.length > FILLERS_MAX) throw new Error(`${fillers.length} connections did not fill the queue`);
  }
  return {
    port,
    release() {
      for (const filler of fillers) filler.destroy();
      process.kill(listener.pid, 'SIGCONT');
    },
    async close() {
      for (const filler of fillers) filler.destroy();
      await listener.kill();
    },
  };
}

/** Takes a place in the queue. When there is none, the system says nothing, which only time can tell. */
function isQueued(port: number, fillers: Socket[]): Promise<boolean> {
  const filler = connect(port, '127.0.0.1');
  filler.unref();
  fillers.push(filler);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 300, false);
    filler.once('connect', () => {
      clearTimeout(timer);
      resolve(true);
    });
    filler.once('error', () => resolve(false));
  });
}

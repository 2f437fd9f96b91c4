/**
 * Where messages of QoS 0 are counted: at the socket of a subscriber, because no acknowledgement tells of them and what
 * a publisher has written may still be in buffers. It is a process of its own, which ends with the one that made it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { killAtEnd } from '../../test/kit/watchdog.js';
import type { Task } from './task.js';

export interface Arrival {
  /** Resolves when so many messages have arrived, the ones before included. */
  reach(count: number): Promise<void>;
  close(): void;
}

/** Resolves when the broker has granted the subscription of everything under `bench/`. */
export async function watchArrival(task: Task): Promise<Arrival> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'arrival-main.js'), [String(task.port)]);
  killAtEnd(child);
  const [granted] = await Promise.race([once(child, 'message'), ended(child)]);
  if (granted !== 'subscribed') throw new Error(`The subscriber said ${String(granted)}.`);
  return {
    async reach(count) {
      child.send(count);
      await Promise.race([once(child, 'message'), ended(child)]);
    },
    close: () => child.disconnect(),
  };
}

async function ended(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, 'exit');
  throw new Error(`The subscriber ended with ${signal ?? code}.`);
}

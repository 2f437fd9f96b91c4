/**
 * A subscriber in a process of its own, for tests that keep this one busy or kill things around it.
 *
 * What it receives goes to a file at once, so that nothing is lost with the process, and it takes no part of this
 * process's event loop.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from './deadline.js';
import { type StartedProcess, startScript } from './process.js';
import { describeMessages, type ReceivedMessage, type SubscriberOptions } from './subscriber.js';
import { temporaryFolder } from './temporary-folder.js';

export interface SubscriberProcess {
  readonly process: StartedProcess;
  /** All messages so far, in the order of their arrival. */
  messages(): readonly ReceivedMessage[];
  /** Waits for at least so many messages, or until the condition holds; gives all messages. */
  waitFor(
    enough: number | ((messages: readonly ReceivedMessage[]) => boolean),
    timeoutMs?: number,
  ): Promise<readonly ReceivedMessage[]>;
  close(): Promise<void>;
}

/** Resolves when the broker has granted the subscription. */
export async function startSubscriberProcess(
  options: Omit<SubscriberOptions, 'onMessage'>,
): Promise<SubscriberProcess> {
  const file = join(temporaryFolder('subscriber'), 'messages.ndjson');
  const process = startScript('test/kit/subscriber-main.js', [file, JSON.stringify(options)]);
  await process.waitForOutput('subscribed');
  const received: ReceivedMessage[] = [];
  const descriptor = openSync(file, 'r');
  const chunk = Buffer.alloc(1024 * 1024);
  let rest = '';
  const messages = () => {
    for (let size = readSync(descriptor, chunk); size > 0; size = readSync(descriptor, chunk)) {
      // A line holds ASCII only, so that a chunk may end anywhere.
      const lines = (rest + chunk.toString('latin1', 0, size)).split('\n');
      rest = lines.pop() ?? '';
      received.push(...lines.map(parseLine));
    }
    return received;
  };
  return {
    process,
    messages,
    async waitFor(enough, timeoutMs) {
      await eventually(
        () => (typeof enough === 'number' ? messages().length >= enough : enough(messages())),
        () => `${typeof enough === 'number' ? enough : 'the wanted'} messages. ${describeMessages(received)}`,
        timeoutMs,
      );
      return received;
    },
    async close() {
      await process.kill('SIGTERM');
      closeSync(descriptor);
    },
  };
}

/** One message as a line of ASCII: everything is JSON in base64. */
export function formatLine({ payload, text: _, ...message }: ReceivedMessage): string {
  const line = JSON.stringify({ ...message, payload: payload.toString('base64') });
  return `${Buffer.from(line).toString('base64')}\n`;
}

function parseLine(line: string): ReceivedMessage {
  const { payload: base64, ...message } = JSON.parse(Buffer.from(line, 'base64').toString());
  const payload = Buffer.from(base64, 'base64');
  return { ...message, payload, text: payload.toString() };
}

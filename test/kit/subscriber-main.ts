/** The process of `startSubscriberProcess`: arguments are the file to write to, and the options as JSON. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { openSubscriber } from './subscriber.js';
import { formatLine } from './subscriber-process.js';

const [, , file = '', options = '{}'] = process.argv;
const descriptor = openSync(file, 'a');
const subscriber = await openSubscriber({
  ...JSON.parse(options),
  onMessage: (message) => void writeSync(descriptor, formatLine(message)),
});
console.log('subscribed');
const running = setInterval(() => undefined, 60_000);

process.once('SIGTERM', async () => {
  clearInterval(running);
  await subscriber.close();
  closeSync(descriptor);
});

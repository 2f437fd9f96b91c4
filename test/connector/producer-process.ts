/**
 * A program as a user of the library writes it, to be killed at any moment: hands in the numbers from 0 to a total, stores
 * with each request how far it has come, and ends when all of them are delivered.
 *
 * Its arguments: settings as JSON, data directory, total, numbers per request.
 */
import { openConnector } from '../../src/index.js';
import { eventually } from '../kit/deadline.js';

const [, , settings = '{}', dataDir = '', total = '0', perRequest = '1'] = process.argv;
const connector = await openConnector({ id: 'numbers', settings: JSON.parse(settings) }, { dataDir });
let next = Number((await connector.position('numbers')) ?? 0);
console.log(`from ${next}`);
while (next < Number(total)) {
  const end = Math.min(Number(total), next + Number(perRequest));
  const elements = Array.from({ length: end - next }, (_, index) => ({ topic: 'numbers', payload: `${next + index}` }));
  const position = { source: 'numbers', value: `${end}` };
  await connector.accept({ type: 'messages', elements }, { position });
  next = end;
}
console.log('all accepted');
await eventually(
  async () => {
    const { cache, inflight } = await connector.status();
    return cache.waitingCounts.telemetry === 0 && inflight === 0;
  },
  'everything to be delivered',
  60_000,
);
const { counts } = await connector.status();
await connector.stop();
console.log(`done ${JSON.stringify(counts.telemetry)}`);

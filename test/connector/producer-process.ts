/**
 * A program as a user of the library writes it, to be killed at any moment: hands in the numbers from 0 to a total, stores
 * with each request how far it has come, and ends when all of them are delivered.
 *
 * Its arguments: settings as JSON, data directory, total, numbers per request, and among how many topics the numbers go
 * round. Only a few requests wait at a time, so that a kill falls into handing in as well as into publishing.
 */
import { openConnector } from '../../src/index.js';
import { eventually } from '../kit/deadline.js';

const WAITING_REQUESTS_MAX = 5;
const PATIENCE_MS = 60_000;

const [, , settings = '{}', dataDir = '', total = '0', perRequest = '1', topics = '1'] = process.argv;
const connector = await openConnector({ id: 'numbers', settings: JSON.parse(settings) }, { dataDir });

async function waiting(): Promise<number> {
  const { cache, inflight } = await connector.status();
  return Math.max(cache.waitingCounts.telemetry, inflight);
}

let next = Number((await connector.position('numbers')) ?? 0);
console.log(`from ${next}`);
while (next < Number(total)) {
  const roomFrom = Number(perRequest) * WAITING_REQUESTS_MAX;
  await eventually(async () => (await waiting()) <= roomFrom, 'less to wait', PATIENCE_MS);
  const end = Math.min(Number(total), next + Number(perRequest));
  const elements = Array.from({ length: end - next }, (_, index) => {
    const topic = topics === '1' ? 'numbers' : `numbers/${(next + index) % Number(topics)}`;
    return { topic, payload: `${next + index}` };
  });
  const position = { source: 'numbers', value: `${end}` };
  await connector.accept({ type: 'messages', elements }, { position });
  next = end;
}
await eventually(async () => (await waiting()) === 0, 'everything to be delivered', PATIENCE_MS);
const { counts } = await connector.status();
await connector.stop();
console.log(`done ${JSON.stringify(counts.telemetry)}`);

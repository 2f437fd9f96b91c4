import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { APPLICATION_ID } from '../../src/cache/schema.js';
import { freePort } from '../kit/ports.js';
import { serviceFolder } from './service-process.js';

const PATH = '/api/content?type=messages&connector=';
const MESSAGES = [{ topic: 't', payload: 'x' }];

test('a connector whose cache is of a newer version tells producers to come again, and monitoring that it has failed', async (t) => {
  const settings = { url: `mqtt://127.0.0.1:${await freePort()}` };
  const place = serviceFolder({ connectors: ['newer', 'other'].map((id) => ({ id, settings })) });
  const folder = join(place.folder, 'data', 'connectors', 'newer');
  mkdirSync(folder, { recursive: true });
  const database = new Database(join(folder, 'cache.db'));
  database.pragma('user_version = 99');
  database.pragma(`application_id = ${APPLICATION_ID}`);
  database.exec('CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)');
  database.exec("INSERT INTO meta VALUES ('cacheId', '0badcafe'), ('version', '99')");
  database.close();

  const service = await place.start();
  t.after(() => service.kill());
  // The other connector has no broker, and says so once.
  await service.process.waitForOutput('BROKER_REFUSED');
  const linesCount = (): number => service.process.output.trim().split('\n').length;
  const linesBefore = linesCount();
  for (let index = 0; index < 20; index++) {
    const refused = await service.post(`${PATH}newer`, MESSAGES);
    const answer = (await refused.json()) as { code: string; incident?: string };
    assert.equal(refused.status, 503);
    assert.equal(answer.code, 'CACHE_NEWER');
    assert.equal(answer.incident, undefined);
    assert.ok(Number(refused.headers.get('retry-after')) > 0, 'Retry-After');
  }
  assert.equal((await service.post(`${PATH}other`, MESSAGES)).status, 202);
  assert.equal(linesCount(), linesBefore, service.process.output);
  assert.doesNotMatch(service.process.output, /"stack"/);

  const readiness = await fetch(`${service.url}/readyz`);
  assert.equal(readiness.status, 503);
  const { ready, reasons } = (await readiness.json()) as { ready: boolean; reasons: string[] };
  assert.equal(ready, false);
  assert.match(reasons.join('|'), /^The connector newer has failed \(CACHE_NEWER\): /);

  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  assert.match(metrics, /^mqtt_north_cache_messages\{connector="other",state="waiting"\} 1$/m);
  assert.doesNotMatch(metrics, /^mqtt_north_(cache|waiting|oldest|archive)[^{]*\{connector="newer"/m);
  assert.match(metrics, /^mqtt_north_session_state\{connector="newer",state="failed"\} 1$/m);

  const removed = await service.remove('/api/connectors/newer');
  assert.equal(removed.status, 409, 'nobody knows what is in it');
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
});

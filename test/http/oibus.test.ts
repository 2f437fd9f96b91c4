import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { MemoryService, type TestServer, token, withServer } from './memory-service.js';

const VALUES = [{ pointId: 'boiler/t1', timestamp: '2026-01-15T10:00:00.000Z', data: { value: '23.5' } }];
const QUERY = '?northId=plant-a&dataSourceId=press%201';

function upload(server: TestServer, name: string, text: string, query = QUERY, field = 'file') {
  const form = new FormData();
  form.append('note', 'before the file');
  form.append(field, new File([text], name));
  return fetch(`${server.url}/api/content/file${query}`, { method: 'POST', body: form });
}

function send(server: TestServer, body: unknown, query = QUERY, headers: Record<string, string> = {}) {
  return fetch(`${server.url}/api/content/content${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body:
      typeof body === 'string' || body instanceof Uint8Array ? new Uint8Array(Buffer.from(body)) : JSON.stringify(body),
  });
}

async function codeOf(response: Response): Promise<string> {
  const { code } = (await response.json()) as { code: string };
  return `${response.status} ${code}`;
}

describe('POST /api/content/content', () => {
  it('takes what feeds an OIBus North, and answers 204 once it is stored', () =>
    withServer(async (server) => {
      const { accepted } = server.service.list[0]!;
      const cases: [unknown, unknown][] = [
        [
          { type: 'time-values', content: VALUES },
          { type: 'time-values', elements: VALUES },
        ],
        [
          { type: 'setpoint', content: [{ reference: 'a', value: true }] },
          { type: 'setpoints', elements: [{ reference: 'a', value: true }] },
        ],
        [{ any: ['thing'] }, { type: 'json', document: { any: ['thing'] } }],
        [[1, 2], { type: 'json', document: [1, 2] }],
        [
          { type: 'any-content', content: '{"a":1}' },
          { type: 'json', document: { a: 1 } },
        ],
        [
          { type: 'batch', content: [1] },
          { type: 'json', document: { type: 'batch', content: [1] } },
        ],
      ];
      for (const [body, content] of cases) {
        const response = await send(server, body);
        assert.equal(response.status, 204, await response.text());
        assert.deepEqual(accepted.at(-1)?.content, content);
        assert.equal(accepted.at(-1)?.options.source, 'press 1');
      }
      assert.equal((await send(server, gzipSync('[1]'), QUERY, { 'content-encoding': 'gzip' })).status, 204);
    }));

  it('sends to every North that is named, in either way of naming several, and ignores other parameters', () =>
    withServer(async (server) => {
      assert.equal((await send(server, VALUES, '?northId=plant-a, plant-b&dataSourceId=x&name=y')).status, 204);
      assert.equal((await send(server, VALUES, '?northId=plant-a&northId=plant-b')).status, 204);
      assert.deepEqual(
        server.service.list.map(({ accepted }) => accepted.length),
        [2, 2],
      );
      assert.equal(server.service.list[0]!.accepted[1]?.options.source, 'api');
    }, new MemoryService('plant-a', 'plant-b')));

  it('does not let a producer name a file of this machine', () =>
    withServer(async (server) => {
      const response = await send(server, { type: 'any', filePath: '/etc/shadow' });
      assert.equal(await codeOf(response), '400 CONTENT_MALFORMED');
      assert.equal(server.service.list[0]!.accepted.length, 0);
    }));

  it('answers with the errors of the API', () =>
    withServer(async (server) => {
      assert.equal(await codeOf(await send(server, VALUES, '')), '400 REQUEST_INVALID');
      assert.equal(await codeOf(await send(server, VALUES, '?northId=,')), '400 REQUEST_INVALID');
      assert.equal(await codeOf(await send(server, VALUES, '?northId=other')), '404 CONNECTOR_UNKNOWN');
      assert.equal(await codeOf(await send(server, '{"type":')), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await send(server, { type: 'setpoint', content: {} })), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await send(server, { type: 'setpoint', content: [1] })), '422 CONTENT_EMPTY');
      server.service.stopping = true;
      assert.equal(await codeOf(await send(server, VALUES)), '503 SERVICE_STOPPING');
    }));

  it('takes the name and secret of a token by Basic authentication, as OIBus producers send them', () =>
    withServer(
      async (server) => {
        const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
        assert.equal((await send(server, VALUES, QUERY, basic('press:press-secret-0123456789'))).status, 204);
        assert.equal(await codeOf(await send(server, VALUES, QUERY, basic('press:wrong'))), '401 TOKEN_MISSING');
      },
      undefined,
      { tokens: [token('press', 'producer')] },
    ));
});

describe('POST /api/content/file', () => {
  it('takes CSV and JSON files by their names', () =>
    withServer(async (server) => {
      const { accepted } = server.service.list[0]!;
      assert.equal((await upload(server, 'Werte ä.CSV', 'a;b\n1;2\n')).status, 204);
      const csv = accepted.at(-1)?.content;
      assert.ok(csv?.type === 'csv' && Buffer.isBuffer(csv.body));
      assert.equal(`${csv.fileName} ${csv.body}`, 'Werte ä.CSV a;b\n1;2\n');
      assert.equal((await upload(server, 'a.json', '{"a":1}')).status, 204);
      assert.deepEqual(accepted.at(-1)?.content, { type: 'json', document: { a: 1 }, fileName: 'a.json' });
    }));

  it('keeps 200 uploads of the same name at once apart', () =>
    withServer(async (server) => {
      const bodies = Array.from({ length: 200 }, (_, index) => `id;value\n${index};${'x'.repeat(index * 50)}\n`);
      const statuses = await Promise.all(bodies.map(async (body) => (await upload(server, 'data.csv', body)).status));
      assert.deepEqual(new Set(statuses), new Set([204]));
      const digest = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex');
      const arrived = server.service.list[0]!.accepted.map(({ content }) => {
        assert.ok(content.type === 'csv' && content.body instanceof Uint8Array);
        return digest(content.body);
      });
      assert.deepEqual(arrived.sort(), bodies.map(digest).sort());
    }));

  it('keeps nothing of a path in the name', () =>
    withServer(async (server) => {
      assert.equal((await upload(server, '../../etc/cron.d/x.csv', 'a\n1\n')).status, 204);
      const content = server.service.list[0]!.accepted[0]?.content;
      assert.ok(content?.type === 'csv');
      assert.equal(content.fileName, 'x.csv');
    }));

  it('answers with the errors of the API', () =>
    withServer(async (server) => {
      assert.equal(await codeOf(await upload(server, 'a.txt', 'x')), '415 CONTENT_TYPE_UNSUPPORTED');
      assert.equal(await codeOf(await upload(server, 'a.json', '{')), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await upload(server, 'a.csv', 'x', QUERY, 'data')), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await upload(server, 'a.csv', 'x', '?northId=other')), '404 CONNECTOR_UNKNOWN');
      assert.equal(await codeOf(await upload(server, 'a.csv', 'x'.repeat(1024 * 1024 + 1))), '413 CONTENT_TOO_LARGE');
      const raw = (headers: Record<string, string>, body: string) =>
        fetch(`${server.url}/api/content/file${QUERY}`, { method: 'POST', headers, body });
      assert.equal(await codeOf(await raw({ 'content-type': 'text/csv' }, 'a\n1')), '415 CONTENT_TYPE_UNSUPPORTED');
      const form = { 'content-type': 'multipart/form-data; boundary=b' };
      assert.equal(await codeOf(await raw({ 'content-type': 'multipart/form-data' }, 'x')), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await raw(form, '')), '400 CONTENT_MALFORMED');
      assert.equal(await codeOf(await raw(form, 'nonsense')), '400 CONTENT_MALFORMED');
      const cut = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.csv"\r\n\r\na\n1';
      assert.equal(await codeOf(await raw(form, cut)), '400 CONTENT_MALFORMED');
      const gzipped = { ...form, 'content-encoding': 'gzip' };
      assert.equal(await codeOf(await raw(gzipped, cut)), '415 CONTENT_TYPE_UNSUPPORTED');
      const proto = '--b\r\ncontent-disposition: form-data; name="__proto__"; filename="a.csv"\r\n\r\na\r\n--b--\r\n';
      assert.equal(await codeOf(await raw(form, proto)), '400 CONTENT_MALFORMED');
      assert.equal(server.service.list[0]!.accepted.length, 0);
      assert.deepEqual(server.log, []);
      assert.equal((await upload(server, 'a.csv', 'a\n1')).status, 204);
    }));
});

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { NorthError } from '../../src/core/error.js';
import type { ErrorCode } from '../../src/core/error-codes.js';
import type { ErrorBody } from '../../src/http/answer.js';
import type { ReceiptAnswer } from '../../src/http/intake.js';
import { eventually } from '../kit/deadline.js';
import { bearer, MemoryService, type TestServer, token, withServer } from './memory-service.js';

const VALUE = { pointId: 'boiler/t1', timestamp: '2026-01-15T10:00:00.000Z', data: { value: 23.5 } };
const JSON_TYPE = { 'content-type': 'application/json' };

interface PostOptions {
  query?: string;
  headers?: Record<string, string>;
}

async function post(server: TestServer, body: string | Uint8Array, options: PostOptions = {}) {
  const { query = 'connector=plant-a&type=time-values', headers = JSON_TYPE } = options;
  const init = { method: 'POST', headers, body: typeof body === 'string' ? body : new Uint8Array(body) };
  const response = await fetch(`${server.url}/api/content?${query}`, init);
  const text = await response.text();
  const answer = JSON.parse(text) as Omit<ErrorBody, 'rejected'> & Omit<ReceiptAnswer, 'connectors'>;
  return { status: response.status, answer, headers: response.headers };
}

async function refused(
  server: TestServer,
  status: number,
  code: string,
  body: string | Uint8Array,
  options?: PostOptions,
) {
  const result = await post(server, body, options);
  assert.equal(`${result.status} ${result.answer.code}`, `${status} ${code}`, JSON.stringify(result.answer));
  assert.ok(result.answer.message.length > 0 && result.answer.remedy.length > 0, 'an error says what to do');
  return result;
}

describe('POST /api/content', () => {
  it('answers 202 with a receipt once the connector has stored the elements', () =>
    withServer(async (server) => {
      const { status, answer } = await post(server, JSON.stringify([VALUE, VALUE]));
      assert.equal(status, 202);
      assert.deepEqual(answer, { receipt: 'plant-a-1', accepted: 2, quarantined: 0, rejectedCount: 0, rejected: [] });
      const [accepted] = server.service.list[0]!.accepted;
      assert.deepEqual(accepted?.content, { type: 'time-values', elements: [VALUE, VALUE] });
      assert.deepEqual(accepted?.options, { source: 'api' });
    }));

  it('does not answer before the content is stored', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      let open = (): void => undefined;
      connector.gate = new Promise((resolve) => {
        open = resolve;
      });
      let answered = false;
      const pending = post(server, JSON.stringify([VALUE])).then((result) => {
        answered = true;
        return result;
      });
      const health = await fetch(`${server.url}/healthz`);
      assert.equal(await health.text(), 'ok');
      assert.equal(answered, false);
      connector.gate = undefined;
      open();
      assert.equal((await pending).status, 202);
    }));

  it('lists rejected elements by their index and stores the others', () =>
    withServer(async (server) => {
      const { status, answer } = await post(server, JSON.stringify([VALUE, 7, VALUE, null]));
      assert.equal(status, 202);
      assert.equal(answer.accepted, 2);
      assert.deepEqual(
        answer.rejected.map(({ index, code }) => `${index} ${code}`),
        ['1 ELEMENT_INVALID', '3 ELEMENT_INVALID'],
      );
    }));

  it('takes every content type in its media types', () =>
    withServer(async (server) => {
      const accepted = server.service.list[0]!.accepted;
      const cases: [string, string, string, unknown][] = [
        ['setpoints', 'application/json', '[{"reference":"a","value":1}]', [{ reference: 'a', value: 1 }]],
        ['messages', 'application/json; charset=utf-8', '[{"topic":"a"}]', [{ topic: 'a' }]],
        [
          'time-values',
          'application/x-ndjson',
          `${JSON.stringify(VALUE)}\r\n\n${JSON.stringify(VALUE)}`,
          [VALUE, VALUE],
        ],
        ['setpoints', 'application/vnd.plant+json', '\ufeff[{"reference":"b"}]', [{ reference: 'b' }]],
      ];
      for (const [type, mediaType, body, elements] of cases) {
        const query = `connector=plant-a&type=${type}&source=press%201`;
        const { status, answer } = await post(server, body, { query, headers: { 'content-type': mediaType } });
        assert.equal(status, 202, JSON.stringify(answer));
        assert.deepEqual(accepted.at(-1)?.content, { type, elements });
        assert.equal(accepted.at(-1)?.options.source, 'press 1');
      }
      await post(server, '{"a":[1]}', { query: 'connector=plant-a&type=json' });
      assert.deepEqual(accepted.at(-1)?.content, { type: 'json', document: { a: [1] } });
      const csv = { query: 'connector=plant-a&type=csv', headers: { 'content-type': 'text/csv' } };
      await post(server, 'a;b\n1;ä\n', csv);
      assert.deepEqual(accepted.at(-1)?.content, { type: 'csv', body: Buffer.from('a;b\n1;ä\n') });
      const latin = { ...csv, headers: { 'content-type': 'text/csv; charset="windows-1252"' } };
      await post(server, Uint8Array.from([0x61, 0x0a, 0xe4, 0x80, 0x0a]), latin);
      assert.deepEqual(accepted.at(-1)?.content, { type: 'csv', body: Buffer.from([0x61, 0x0a, 0xe4, 0x80, 0x0a]) });
    }));

  it('rejects a line that is no JSON alone, and keeps the indices of the lines that were sent', () =>
    withServer(async (server) => {
      const headers = { 'content-type': 'application/x-ndjson' };
      const lines = [JSON.stringify(VALUE), '{"pointId":', '', '7', JSON.stringify(VALUE)];
      const { status, answer } = await post(server, lines.join('\n'), { headers });
      assert.equal(status, 202);
      assert.equal(answer.accepted, 2);
      assert.deepEqual(
        answer.rejected.map(({ index }) => index),
        [1, 2],
      );
      assert.match(answer.rejected[0]!.message, /line 1, column 12/);
      const none = await refused(server, 422, 'CONTENT_EMPTY', '{\n{\n', { headers });
      assert.equal(none.answer.rejected?.length, 2);
      const mixed = await refused(server, 422, 'CONTENT_EMPTY', '{\n7\n', { headers });
      assert.deepEqual(
        mixed.answer.rejected?.map(({ index }) => index),
        [0, 1],
      );
    }));

  it('says where JSON is malformed', () =>
    withServer(async (server) => {
      const { answer } = await refused(server, 400, 'CONTENT_MALFORMED', '[\n  {"pointId": boiler}\n]');
      assert.match(answer.message, /line 2, column 15/);
      await refused(server, 400, 'CONTENT_MALFORMED', '');
      await refused(server, 400, 'CONTENT_MALFORMED', '{"pointId":1}');
      await refused(server, 400, 'CONTENT_MALFORMED', Uint8Array.from([0x5b, 0x22, 0xff, 0x22, 0x5d]));
    }));

  it('refuses more elements than it could list, in either form, and lists a part of what is refused', () =>
    withServer(
      async (server) => {
        await refused(server, 413, 'CONTENT_TOO_LARGE', `[${'1,'.repeat(1_000_000)}1]`);
        const headers = { 'content-type': 'application/x-ndjson' };
        await refused(server, 413, 'CONTENT_TOO_LARGE', '1\n'.repeat(1_000_001), { headers });
        const { answer } = await refused(server, 422, 'CONTENT_EMPTY', `[${'1,'.repeat(50_000)}1]`);
        assert.equal(answer.rejectedCount, 50_001);
        assert.equal(answer.rejected.length, 10_000);
      },
      undefined,
      { bodySizeMaxBytes: 16 * 1024 * 1024 },
    ));

  it('takes no key that would change prototypes, however it is written', () =>
    withServer(async (server) => {
      for (const key of ['__proto__', '\\u005f_proto__', '__proto\\u005F_']) {
        await refused(server, 400, 'CONTENT_MALFORMED', `[{"data":{"${key}":{"polluted":true}}}]`);
      }
      assert.equal(({} as Record<string, unknown>).polluted, undefined);
      // As a value it is only a text.
      assert.equal((await post(server, '[{"pointId":"__proto__","x_\\u005fy":1}]')).status, 202);
    }));

  it('answers every cause of a refusal with its own status and code', () =>
    withServer(async (server) => {
      const body = JSON.stringify([VALUE]);
      await refused(server, 400, 'REQUEST_INVALID', body, { query: 'type=time-values' });
      await refused(server, 400, 'REQUEST_INVALID', body, { query: 'connector=&type=time-values' });
      await refused(server, 400, 'REQUEST_INVALID', body, { query: 'connector=plant-a' });
      await refused(server, 400, 'REQUEST_INVALID', body, { query: 'connector=plant-a&type=values' });
      await refused(server, 400, 'REQUEST_INVALID', body, { query: 'connector=plant-a&type=json&sorce=a' });
      await refused(server, 400, 'REQUEST_INVALID', body, {
        headers: { ...JSON_TYPE, 'idempotency-key': 'k'.repeat(256) },
      });
      await refused(server, 400, 'REQUEST_INVALID', body, { headers: { ...JSON_TYPE, 'idempotency-key': 'k\u00e9' } });
      await refused(server, 404, 'CONNECTOR_UNKNOWN', body, { query: 'connector=plant-z&type=time-values' });
      await refused(server, 413, 'CONTENT_TOO_LARGE', `[${' '.repeat(1024 * 1024)}]`);
      await refused(server, 415, 'CONTENT_TYPE_UNSUPPORTED', body, { headers: { 'content-type': 'text/plain' } });
      await refused(server, 415, 'CONTENT_TYPE_UNSUPPORTED', body, { headers: { 'content-type': 'text/csv' } });
      await refused(server, 415, 'CONTENT_TYPE_UNSUPPORTED', Buffer.from(body), { headers: {} });
      await refused(server, 415, 'CONTENT_TYPE_UNSUPPORTED', body, { headers: { 'content-type': '; nonsense' } });
      await refused(server, 415, 'CONTENT_TYPE_UNSUPPORTED', body, {
        headers: { ...JSON_TYPE, 'content-encoding': 'br' },
      });
      await refused(server, 422, 'CONTENT_EMPTY', '[1,2]');
      server.service.list[0]!.types = ['json'];
      await refused(server, 422, 'TRANSFORMER_MISSING', body);
      server.service.list[0]!.types = ['time-values'];
      const failures: [ErrorCode, number][] = [
        ['CONNECTOR_DISABLED', 409],
        ['IDEMPOTENCY_KEY_REUSED', 422],
        ['TRANSFORMER_FAILED', 422],
        ['SERVICE_STOPPING', 503],
        ['CACHE_CLOSED', 503],
        ['CACHE_FULL', 507],
        ['CACHE_DISK_FULL', 507],
        ['CACHE_FAILED', 503],
        ['CACHE_NEWER', 503],
        ['CONNECTOR_FAILED', 503],
      ];
      for (const [code, status] of failures) {
        server.service.list[0]!.failure = new NorthError(code, 'It happened.');
        const { headers } = await refused(server, status, code, body);
        assert.equal(headers.has('retry-after'), status === 503 || status === 507, `${code} and Retry-After`);
      }
      // A producer that comes again every second must not fill the log.
      assert.deepEqual(
        server.log.filter(({ level }) => level === 'error' || level === 'warn'),
        [],
      );
      assert.equal(server.service.list[0]!.accepted.length, 0);
    }));

  it('tells nothing of an unforeseen error but a number that the log has, too', () =>
    withServer(async (server) => {
      server.service.list[0]!.failure = new Error('password=hunter2 at /etc/secret');
      const { answer } = await refused(server, 500, 'INTERNAL', JSON.stringify([VALUE]));
      assert.doesNotMatch(JSON.stringify(answer), /hunter2|secret|\.js/);
      const line = server.log.find(({ level }) => level === 'error');
      assert.ok(line !== undefined && 'incident' in line.fields);
      assert.equal(line.fields.incident, answer.incident);
    }));

  it('refuses with 503 and Retry-After as soon as the service stops', () =>
    withServer(async (server) => {
      server.service.stopping = true;
      const { headers } = await refused(server, 503, 'SERVICE_STOPPING', JSON.stringify([VALUE]));
      assert.equal(headers.get('retry-after'), '5');
      assert.equal((await fetch(`${server.url}/healthz`)).status, 503);
    }));
});

describe('Idempotency-Key', () => {
  it('gives the same receipt for the same key, and refuses other content under it', () =>
    withServer(async (server) => {
      const options = { headers: { ...JSON_TYPE, 'idempotency-key': 'batch 7' } };
      const first = await post(server, JSON.stringify([VALUE]), options);
      const second = await post(server, JSON.stringify([VALUE]), options);
      assert.deepEqual(second.answer, first.answer);
      assert.equal(server.service.list[0]!.accepted.length, 1);
      await refused(server, 422, 'IDEMPOTENCY_KEY_REUSED', JSON.stringify([{ ...VALUE, pointId: 'x' }]), options);
    }));

  it('keeps the keys of two tokens apart', () =>
    withServer(
      async (server) => {
        for (const name of ['press', 'oven']) {
          const headers = { ...JSON_TYPE, ...bearer(name), 'idempotency-key': '1' };
          assert.equal((await post(server, JSON.stringify([VALUE]), { headers })).status, 202);
        }
        assert.equal(server.service.list[0]!.accepted.length, 2);
      },
      undefined,
      { tokens: [token('press', 'producer'), token('oven', 'producer')] },
    ));
});

describe('content for several connectors', () => {
  const query = 'connector=plant-a,plant-b&connector=plant-a&type=time-values';

  it('is accepted when each of them has stored it', () =>
    withServer(async (server) => {
      const { status, answer } = await post(server, JSON.stringify([VALUE, 1]), { query });
      assert.equal(status, 202);
      assert.equal(answer.receipt, 'plant-a-1,plant-b-1');
      assert.equal(answer.accepted, 1);
      assert.deepEqual(
        answer.rejected.map(({ connector, index }) => `${connector} ${index}`),
        ['plant-a 1', 'plant-b 1'],
      );
      assert.deepEqual(
        server.service.list.map(({ accepted }) => accepted.length),
        [1, 1],
      );
    }, new MemoryService('plant-a', 'plant-b')));

  it('says which of them have stored it when one fails, and a retry with the key completes it', () =>
    withServer(async (server) => {
      const [first, second] = server.service.list;
      second!.failure = new NorthError('CACHE_FULL', 'The cache is full.');
      const options = { query, headers: { ...JSON_TYPE, 'idempotency-key': 'k1' } };
      const { answer } = await refused(server, 507, 'CACHE_FULL', JSON.stringify([VALUE]), options);
      const outcomes = answer.connectors?.map(({ connector, stored }) => `${connector} ${stored}`);
      assert.deepEqual(outcomes, ['plant-a true', 'plant-b false']);
      assert.match(answer.message, /Stored already in "plant-a"/);
      second!.failure = undefined;
      assert.equal((await post(server, JSON.stringify([VALUE]), options)).status, 202);
      assert.deepEqual([first!.accepted.length, second!.accepted.length], [1, 1]);
    }, new MemoryService('plant-a', 'plant-b')));

  it('is refused as a whole, before anything is stored, when one of them does not exist', () =>
    withServer(async (server) => {
      await refused(server, 404, 'CONNECTOR_UNKNOWN', JSON.stringify([VALUE]), { query: `${query}&connector=c` });
      assert.deepEqual(
        server.service.list.map(({ accepted }) => accepted.length),
        [0, 0],
      );
    }, new MemoryService('plant-a', 'plant-b')));

  it('logs what failed unforeseen in one of them and still says where it is stored', () =>
    withServer(async (server) => {
      server.service.list[1]!.failure = new TypeError('x is undefined');
      const { answer } = await refused(server, 500, 'INTERNAL', JSON.stringify([VALUE]), { query });
      assert.equal(answer.connectors?.length, 2);
      assert.equal(server.log.length, 1);
    }, new MemoryService('plant-a', 'plant-b')));
});

describe('compressed content', () => {
  const gzip = { ...JSON_TYPE, 'content-encoding': 'gzip' };

  it('is unpacked', () =>
    withServer(async (server) => {
      const { status } = await post(server, gzipSync(JSON.stringify([VALUE])), { headers: gzip });
      assert.equal(status, 202);
      assert.deepEqual(server.service.list[0]!.accepted[0]?.content, { type: 'time-values', elements: [VALUE] });
    }));

  it('is refused at the limit of the unpacked size, long before a bomb has unpacked', () =>
    withServer(async (server) => {
      const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, 0x20));
      assert.ok(bomb.length < 1024 * 1024);
      const before = process.memoryUsage.rss();
      await refused(server, 413, 'CONTENT_TOO_LARGE', bomb, { headers: gzip });
      assert.ok(process.memoryUsage.rss() - before < 100 * 1024 * 1024);
      assert.equal((await post(server, JSON.stringify([VALUE]))).status, 202);
    }));

  it('is malformed when it is no gzip, or ends in the middle', () =>
    withServer(async (server) => {
      await refused(server, 400, 'CONTENT_MALFORMED', JSON.stringify([VALUE]), { headers: gzip });
      const cut = gzipSync(JSON.stringify([VALUE])).subarray(0, -6);
      await refused(server, 400, 'CONTENT_MALFORMED', cut, { headers: gzip });
    }));
});

describe('too much at once', () => {
  it('is refused with 429 by the number of requests, and taken again afterwards', () =>
    withServer(
      async (server) => {
        const connector = server.service.list[0]!;
        let open = (): void => undefined;
        connector.gate = new Promise((resolve) => {
          open = resolve;
        });
        const held = [post(server, JSON.stringify([VALUE])), post(server, JSON.stringify([VALUE]))];
        await eventually(async () => {
          const { headers } = await refused(server, 429, 'REQUEST_TOO_MANY', JSON.stringify([VALUE]));
          return headers.get('retry-after') === '1';
        }, 'the two held requests to fill the room');
        connector.gate = undefined;
        open();
        for (const result of await Promise.all(held)) assert.equal(result.status, 202);
        assert.equal((await post(server, JSON.stringify([VALUE]))).status, 202);
      },
      undefined,
      { limits: { requestsMax: 2 } },
    ));

  it('is refused with 429 by the bytes in memory, but a request alone always has room', () =>
    withServer(
      async (server) => {
        const connector = server.service.list[0]!;
        let open = (): void => undefined;
        const large = JSON.stringify([{ text: 'x'.repeat(50_000) }]);
        assert.equal((await post(server, large)).status, 202);
        connector.gate = new Promise((resolve) => {
          open = resolve;
        });
        const held = post(server, large);
        await eventually(async () => {
          await refused(server, 429, 'REQUEST_TOO_MANY', large);
          return true;
        }, 'the held request to fill the room');
        connector.gate = undefined;
        open();
        assert.equal((await held).status, 202);
      },
      undefined,
      { limits: { bodiesSizeMaxBytes: 10_000 } },
    ));

  it('counts what becomes of a body in memory, not its bytes alone', () =>
    withServer(
      async (server) => {
        const connector = server.service.list[0]!;
        let open = (): void => undefined;
        connector.gate = new Promise((resolve) => {
          open = resolve;
        });
        const dense = `[${'1,'.repeat(2000)}{"reference":"a"}]`;
        const held = post(server, dense);
        await eventually(async () => {
          await refused(server, 429, 'REQUEST_TOO_MANY', dense);
          return true;
        }, 'the held request to fill the room');
        // An operator still gets through.
        const start = await fetch(`${server.url}/api/connectors/plant-a/cache/retry`, { method: 'POST', body: '{' });
        assert.notEqual(start.status, 429);
        connector.gate = undefined;
        open();
        assert.equal((await held).status, 202);
      },
      undefined,
      { limits: { bodiesSizeMaxBytes: 100_000 } },
    ));
});

describe('too many connections', () => {
  it('are refused and told in the log once', () =>
    withServer(
      async (server) => {
        const { hostname, port } = new URL(server.url);
        const sockets = Array.from({ length: 10 }, () => connect(Number(port), hostname).on('error', () => undefined));
        await eventually(() => server.log.length > 0, 'a line in the log');
        for (const socket of sockets) socket.destroy();
        assert.deepEqual(
          server.log.map(({ message }) => message.includes('too many')),
          [true],
        );
      },
      undefined,
      { limits: { connectionsMax: 3 } },
    ));
});

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { describe, it } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import type { StoredMessageView } from '../../src/http/stored-message-view.js';
import { eventually, within } from '../kit/deadline.js';
import { bearer, MemoryService, type TestServer, token, withServer } from './memory-service.js';

async function ask(server: TestServer, method: string, path: string, body?: unknown, headers = {}) {
  const init: RequestInit = { method, headers };
  if (body !== undefined) {
    init.headers = { 'content-type': 'application/json', ...headers };
    init.body = typeof body === 'string' ? body : JSON.stringify(body);
  }
  const response = await fetch(server.url + path, init);
  const text = await response.text();
  const json =
    response.headers.get('content-type')?.startsWith('application/json') === true ? JSON.parse(text) : undefined;
  return { status: response.status, code: json?.code as string | undefined, json, text, headers: response.headers };
}

describe('/api/connectors', () => {
  it('makes, shows, changes and removes a connector', () =>
    withServer(async (server) => {
      const config = { id: 'plant-b', settings: { url: 'mqtt://localhost' } };
      const made = await ask(server, 'POST', '/api/connectors', config);
      assert.equal(made.status, 201);
      assert.equal(made.headers.get('location'), '/api/connectors/plant-b');
      assert.equal(made.json.status.state, 'online');
      const shown = await ask(server, 'GET', '/api/connectors/plant-b');
      assert.deepEqual(shown.json.config, config);
      const changed = await ask(server, 'PUT', '/api/connectors/plant-b', { ...config, name: 'B' });
      assert.equal(changed.json.config.name, 'B');
      const list = await ask(server, 'GET', '/api/connectors');
      assert.deepEqual(
        list.json.connectors.map(({ id }: { id: string }) => id),
        ['plant-a', 'plant-b'],
      );
      assert.equal((await ask(server, 'DELETE', '/api/connectors/plant-b')).status, 204);
      assert.equal((await ask(server, 'GET', '/api/connectors/plant-b')).code, 'CONNECTOR_UNKNOWN');
    }));

  it('refuses what cannot be, each with its own code', () =>
    withServer(async (server) => {
      const refused = async (status: number, code: string, ...request: [string, string, unknown?]) => {
        const answer = await ask(server, ...request);
        assert.equal(`${answer.status} ${answer.code}`, `${status} ${code}`, request.join(' '));
        return answer;
      };
      await refused(409, 'CONNECTOR_EXISTS', 'POST', '/api/connectors', { id: 'plant-a' });
      await refused(400, 'CONFIG_INVALID', 'POST', '/api/connectors', { id: 'x', bad: 1 });
      await refused(400, 'REQUEST_INVALID', 'POST', '/api/connectors', { name: 'x' });
      await refused(400, 'REQUEST_INVALID', 'POST', '/api/connectors', [1]);
      await refused(400, 'REQUEST_INVALID', 'POST', '/api/connectors');
      await refused(400, 'CONTENT_MALFORMED', 'POST', '/api/connectors', '{"id":');
      await refused(400, 'CONTENT_MALFORMED', 'POST', '/api/connectors', '{"id":"x","__proto__":{}}');
      await refused(400, 'CONFIG_INVALID', 'PUT', '/api/connectors/plant-a', { id: 'plant-b' });
      await refused(404, 'CONNECTOR_UNKNOWN', 'PUT', '/api/connectors/x', { id: 'x' });
      await refused(404, 'CONNECTOR_UNKNOWN', 'DELETE', '/api/connectors/x');
      await refused(404, 'CONNECTOR_UNKNOWN', 'POST', '/api/connectors/x/start');
      await refused(404, 'ROUTE_UNKNOWN', 'PATCH', '/api/connectors/plant-a');
      await refused(400, 'REQUEST_INVALID', 'DELETE', '/api/connectors/plant-a?discard=maybe');
      server.service.list[0]!.hold('waiting');
      await refused(409, 'CONNECTOR_NOT_EMPTY', 'DELETE', '/api/connectors/plant-a');
      assert.equal((await ask(server, 'DELETE', '/api/connectors/plant-a?discard=true')).status, 204);
    }));

  it('starts and stops a connector', () =>
    withServer(async (server) => {
      const stopped = await ask(server, 'POST', '/api/connectors/plant-a/stop');
      assert.equal(stopped.json.status.state, 'stopped');
      const started = await ask(server, 'POST', '/api/connectors/plant-a/start');
      assert.equal(started.json.status.state, 'online');
    }));

  it('shows the others when one gives no status', () =>
    withServer(async (server) => {
      server.service.list[0]!.failure = new NorthError('CACHE_FAILED', 'The disk does not answer.');
      const { json } = await ask(server, 'GET', '/api/connectors');
      assert.deepEqual(json.connectors[0], {
        id: 'plant-a',
        name: 'plant-a',
        state: 'failed',
        description: 'The disk does not answer.',
      });
      assert.equal(json.connectors[1].state, 'online');
      assert.equal('ackLatency' in json.connectors[1], false);
    }, new MemoryService('plant-a', 'plant-b')));
});

describe('test connection', () => {
  const tokens = [token('hand', 'operator'), token('head', 'administrator')];

  it('is for an operator with the stored settings, and for an administrator with any', () =>
    withServer(
      async (server) => {
        const path = '/api/connectors/plant-a/test';
        const own = await ask(server, 'POST', path, undefined, bearer('hand'));
        assert.equal(own.json.steps[0].name, 'resolve');
        const settings = { url: 'mqtt://10.0.0.1' };
        assert.equal((await ask(server, 'POST', path, { settings }, bearer('hand'))).status, 403);
        assert.equal((await ask(server, 'POST', path, { settings }, bearer('head'))).status, 200);
        assert.equal((await ask(server, 'POST', '/api/test', { settings }, bearer('head'))).status, 200);
        assert.equal((await ask(server, 'POST', '/api/test', {}, bearer('head'))).code, 'REQUEST_INVALID');
        assert.equal((await ask(server, 'POST', '/api/test', { settings }, bearer('hand'))).status, 403);
        const targets = server.service.tested.map(({ target }) => target);
        assert.deepEqual(targets, [{ id: 'plant-a' }, { id: 'plant-a', settings }, { settings }]);
      },
      undefined,
      { tokens },
    ));

  it('ends when nobody waits for it any more', () =>
    withServer(async (server) => {
      server.service.testGate = new Promise(() => undefined);
      const request = httpRequest(`${server.url}/api/connectors/plant-a/test`, { method: 'POST' });
      request.on('error', () => undefined);
      request.end();
      await eventually(() => server.service.tested.length === 1, 'the test to begin');
      const { signal } = server.service.tested[0]!;
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
      request.destroy();
      await within(aborted, 'the test to be aborted');
    }));
});

describe('the cache of a connector', () => {
  it('is shown page by page, with payloads as base64 and text', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      for (let index = 0; index < 5; index++) connector.hold('waiting', { payload: Buffer.from(`"${index}"`) });
      connector.hold('quarantined', { payload: Uint8Array.from([0xff, 0x00]), topic: 'a/ü', retain: true });
      const first = await ask(server, 'GET', '/api/connectors/plant-a/cache?limit=3');
      assert.equal(first.json.messages.length, 3);
      const second = await ask(server, 'GET', `/api/connectors/plant-a/cache?limit=3&after=${first.json.cursor}`);
      const texts = [...first.json.messages, ...second.json.messages].map((one: StoredMessageView) => one.payloadText);
      assert.deepEqual(texts, ['"0"', '"1"', '"2"', '"3"', '"4"']);
      assert.equal(second.json.cursor, undefined);
      const held = await ask(server, 'GET', '/api/connectors/plant-a/cache?state=quarantined');
      assert.deepEqual(held.json.messages, [
        {
          state: 'quarantined',
          id: 6,
          messageId: '9f2c41d7-t-5',
          lane: 'telemetry',
          offset: 5,
          acceptedAt: '2026-01-15T10:00:00.005Z',
          at: '2026-01-15T10:01:00.000Z',
          code: 'PUBLISH_REFUSED',
          reason: 'Topic name invalid',
          topic: 'a/ü',
          qos: 1,
          retain: true,
          expirySeconds: 0,
          payloadSizeBytes: 2,
          payloadBase64: '/wA=',
          truncated: false,
        },
      ]);
    }));

  it('shows the beginning of a large payload, never half a character, and a damaged record as it is', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      connector.hold('waiting', { payload: Buffer.from('ä🌡'.repeat(10_000)) });
      connector.hold('waiting');
      connector.stored[1]!.record = Uint8Array.from([1, 2, 3]);
      connector.stored[1]!.count = 7;
      const { json } = await ask(server, 'GET', '/api/connectors/plant-a/cache');
      const [large, damaged] = json.messages as StoredMessageView[];
      assert.equal(large?.truncated, true);
      assert.equal(large?.payloadSizeBytes, 60_000);
      assert.equal(Buffer.from(large?.payloadBase64 ?? '', 'base64').length, 16_384);
      assert.match(large?.payloadText ?? '', /^(ä🌡)+ä?$/u);
      assert.deepEqual(
        [damaged?.topic, damaged?.payloadBase64, damaged?.payloadText, damaged?.count],
        [undefined, 'AQID', undefined, 7],
      );
    }));

  it('gives back and removes quarantined messages by id, by code or all', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      for (let index = 0; index < 4; index++) connector.hold('quarantined');
      const act = (action: string, body: unknown) =>
        ask(server, 'POST', `/api/connectors/plant-a/cache/${action}`, body);
      assert.deepEqual((await act('retry', { ids: [1] })).json, { count: 1 });
      assert.deepEqual((await act('retry', { ids: [2], topic: 'b' })).json, { count: 1 });
      assert.deepEqual((await act('remove', { codes: ['OTHER'] })).json, { count: 0 });
      assert.deepEqual((await act('remove', { all: true })).json, { count: 2 });
      assert.equal((await act('remove', { ids: [99] })).code, 'MESSAGE_UNKNOWN');
      for (const body of [
        {},
        { ids: [] },
        { ids: ['1'] },
        { all: false },
        { ids: [1], all: true },
        { all: true, topic: 'b' },
      ]) {
        assert.equal((await act('retry', body)).code, 'REQUEST_INVALID', JSON.stringify(body));
      }
      assert.equal((await act('remove', undefined)).code, 'REQUEST_INVALID');
    }));

  it('is exported whole, line by line, and read only as fast as the client takes it', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      const payload = Buffer.alloc(20_000, 'x');
      for (let index = 0; index < 3000; index++) connector.hold('waiting', { payload });
      const calls = await new Promise<number>((resolve, reject) => {
        const request = httpRequest(`${server.url}/api/connectors/plant-a/cache/export`, (response) => {
          response.once('readable', () => {
            // Nothing is read for now: the pages that are read meanwhile are those that fit into buffers.
            setImmediate(() => resolve(connector.listCalls));
            response.once('close', () => undefined);
            response.destroy();
          });
        });
        request.on('error', reject);
        request.end();
      });
      assert.ok(calls < 15, `${calls} pages of 15 were read ahead`);
      const whole = await ask(server, 'GET', '/api/connectors/plant-a/cache/export?state=waiting');
      const lines = whole.text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as StoredMessageView);
      assert.equal(lines.length, 3000);
      assert.deepEqual(new Set(lines.map(({ payloadBase64 }) => payloadBase64.length)), new Set([26_668]));
      assert.match(whole.headers.get('content-disposition') ?? '', /filename="plant-a-waiting.ndjson"/);
    }));

  it('that breaks in the middle of an export breaks the transfer', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      for (let index = 0; index < 300; index++) connector.hold('waiting');
      const list = connector.list.bind(connector);
      connector.list = async (query) => {
        if (query.after !== undefined) throw new NorthError('CACHE_FAILED', 'The disk is gone.');
        return list(query);
      };
      await assert.rejects(ask(server, 'GET', '/api/connectors/plant-a/cache/export'), TypeError);
      connector.failure = new NorthError('CACHE_FAILED', 'The disk is gone.');
      assert.equal((await ask(server, 'GET', '/api/connectors/plant-a/cache/export')).code, 'CACHE_FAILED');
    }));

  it('refuses parameters that it does not know', () =>
    withServer(async (server) => {
      for (const query of ['limit=0', 'limit=501', 'limit=x', 'state=all', 'lane=fast', 'offset=3', 'after=']) {
        assert.equal(
          (await ask(server, 'GET', `/api/connectors/plant-a/cache?${query}`)).code,
          'REQUEST_INVALID',
          query,
        );
      }
    }));
});

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { Secret } from '../../src/config/secret.js';
import { NorthError } from '../../src/core/error.js';
import { mayUse, TokenBook } from '../../src/http/caller.js';
import { hostName } from '../../src/http/origin.js';
import { ROUTES } from '../../src/http/routes.js';
import { openServer } from '../../src/http/server.js';
import { eventually, within } from '../kit/deadline.js';
import {
  bearer,
  MemoryService,
  recordingLogger,
  startServer,
  type TestServer,
  token,
  withServer,
} from './memory-service.js';
import { sendRaw } from './raw-request.js';

const CONTENT = '/api/content?connector=plant-a&type=setpoints';

function ask(server: TestServer, method: string, path: string, headers: Record<string, string> = {}) {
  const body = method === 'POST' || method === 'PUT' ? '[{"reference":"a","value":1}]' : null;
  const type: Record<string, string> = body === null ? {} : { 'content-type': 'application/json' };
  return fetch(server.url + path, { method, headers: { ...type, ...headers }, body });
}

/** As `fetch`, but with headers that it does not let one set. */
function askAs(server: TestServer, method: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(server.url + path, { method, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    request.on('error', reject);
    request.end(method === 'POST' ? '[{"reference":"a","value":1}]' : undefined);
  });
}

function examplePath(path: string): string {
  return path.replace(':id', 'plant-a');
}

describe('tokens', () => {
  const tokens = [
    token('press', 'producer', ['plant-a']),
    token('eye', 'viewer'),
    token('guest', 'viewer', ['plant-b']),
    token('hand', 'operator'),
    token('head', 'administrator'),
  ];

  it('are asked for on every route but /healthz, on unknown paths and on the documentation', () =>
    withServer(
      async (server) => {
        for (const route of ROUTES) {
          const response = await ask(server, route.method, examplePath(route.path));
          await response.body?.cancel();
          assert.equal(response.status === 401, route.path !== '/healthz', `${route.method} ${route.path}`);
        }
        for (const path of ['/nowhere', '/api/docs', '/api/docs/json', '/api/docs/static/swagger-ui.css']) {
          const response = await ask(server, 'GET', path);
          assert.equal(response.status, 401, path);
        }
        const health = await ask(server, 'GET', '/healthz');
        assert.equal(await health.text(), 'ok');
      },
      undefined,
      { tokens },
    ));

  it('allow each role what its routes declare, and nothing else', () =>
    withServer(
      async (server) => {
        const roles = { press: 'producer', eye: 'viewer', hand: 'operator', head: 'administrator' } as const;
        for (const [name, role] of Object.entries(roles)) {
          for (const route of ROUTES) {
            const response = await ask(server, route.method, examplePath(route.path), bearer(name));
            await response.body?.cancel();
            const caller = { name, role, connectors: undefined };
            const allowed = mayUse(caller, route.role);
            assert.equal(
              response.status !== 403,
              allowed,
              `${name} on ${route.method} ${route.path}: ${response.status}`,
            );
            assert.notEqual(response.status, 401);
            if (server.service.connector('plant-a') === undefined)
              await server.service.createConnector({ id: 'plant-a' });
          }
        }
      },
      undefined,
      { tokens },
    ));

  it('reach only the connectors that they are limited to, whether others exist or not', () =>
    withServer(
      async (server) => {
        const post = (id: string) =>
          ask(server, 'POST', `/api/content?connector=${id}&type=setpoints`, bearer('press')).then(
            ({ status }) => status,
          );
        assert.equal(await post('plant-a'), 202);
        assert.equal(await post('plant-b'), 403);
        assert.equal(await post('plant-z'), 403);
        assert.equal(await post('plant-a,plant-b'), 403);
        const listed = await ask(server, 'GET', '/api/connectors', bearer('guest'));
        const { connectors } = (await listed.json()) as { connectors: { id: string }[] };
        assert.deepEqual(
          connectors.map(({ id }) => id),
          ['plant-b'],
        );
        assert.equal((await ask(server, 'GET', '/api/connectors/plant-a/cache', bearer('guest'))).status, 403);
        const metrics = await (await ask(server, 'GET', '/metrics', bearer('guest'))).text();
        assert.match(metrics, /connector="plant-b"/);
        assert.doesNotMatch(metrics, /connector="plant-a"/);
        server.service.list[0]!.failedBy = new NorthError('CACHE_NEWER', 'Of version 99.');
        const reasonsFor = async (name: string): Promise<string[]> => {
          const answer = await ask(server, 'GET', '/readyz', bearer(name));
          assert.equal(answer.status, 503);
          return ((await answer.json()) as { reasons: string[] }).reasons;
        };
        assert.deepEqual(await reasonsFor('guest'), ['A connector has failed.']);
        assert.deepEqual(await reasonsFor('press'), ['The connector plant-a has failed (CACHE_NEWER): Of version 99.']);
        const hint = await ask(server, 'POST', '/api/content?type=setpoints', bearer('press'));
        assert.doesNotMatch(await hint.text(), /plant-b/);
        assert.equal(server.service.list[1]!.accepted.length, 0);
      },
      new MemoryService('plant-a', 'plant-b'),
      { tokens },
    ));

  it('that are wrong, cut or of another scheme are none', () => {
    const book = new TokenBook(tokens);
    assert.equal(book.find('Bearer press-secret-0123456789')?.name, 'press');
    assert.equal(book.find('bearer   press-secret-0123456789')?.name, 'press');
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    assert.equal(book.find(basic('press:press-secret-0123456789'))?.name, 'press');
    const wrong = [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      'Bearer press-secret-012345678',
      'Bearer press-secret-0123456789x',
      'Token press-secret-0123456789',
      'press-secret-0123456789',
      basic('eye:press-secret-0123456789'),
      basic('press'),
      basic(':press-secret-0123456789'),
      'Basic !!!',
    ];
    for (const header of wrong) assert.equal(book.find(header), undefined, String(header));
  });

  it('with the same secret are refused, because nobody could say who it was', () => {
    const secret = new Secret('same-secret-0123456789');
    assert.throws(
      () =>
        new TokenBook([
          { name: 'a', role: 'viewer', secret },
          { name: 'b', role: 'producer', secret },
        ]),
      (error) =>
        error instanceof NorthError && error.code === 'CONFIG_INVALID' && !error.message.includes('same-secret'),
    );
  });

  it('let a browser ask for name and secret, and a program for a bearer token', () =>
    withServer(
      async (server) => {
        const page = await ask(server, 'GET', '/', { accept: 'text/html,*/*' });
        assert.match(page.headers.get('www-authenticate') ?? '', /^Basic /);
        const api = await ask(server, 'GET', '/api/connectors');
        assert.match(api.headers.get('www-authenticate') ?? '', /^Bearer /);
        const basic = Buffer.from('eye:eye-secret-0123456789').toString('base64');
        assert.equal((await ask(server, 'GET', '/', { authorization: `Basic ${basic}` })).status, 200);
      },
      undefined,
      { tokens },
    ));
});

describe('the open server on loopback', () => {
  it('answers only to its own host names and to addresses', () =>
    withServer(
      async (server) => {
        const { port } = new URL(server.url);
        const host = (name: string) => askAs(server, 'GET', '/api/connectors', { host: name });
        for (const name of [
          `localhost:${port}`,
          '127.0.0.1',
          `[::1]:${port}`,
          'x.localhost',
          'LOCALHOST.',
          'north.plant',
        ]) {
          assert.equal(await host(name), 200, name);
        }
        for (const name of [
          'evil.example',
          `evil.example:${port}`,
          'localhost.evil.example',
          '127.0.0.1.evil.example',
          'a b',
        ]) {
          assert.equal(await host(name), 403, name);
        }
      },
      undefined,
      { hosts: ['North.Plant'] },
    ));

  it('takes nothing from pages of other sites, and everything from its own and from programs', () =>
    withServer(async (server) => {
      const { host } = new URL(server.url);
      const post = (headers: Record<string, string>) =>
        askAs(server, 'POST', CONTENT, { 'content-type': 'application/json', ...headers });
      const others = [
        { origin: 'https://evil.example' },
        { origin: 'null' },
        { origin: 'http://localhost:1' },
        { origin: `http://${host}.evil.example` },
        { origin: 'file://' },
        { 'sec-fetch-site': 'cross-site' },
        { 'sec-fetch-site': 'same-site' },
      ];
      for (const headers of others)
        assert.equal(await post(headers as Record<string, string>), 403, JSON.stringify(headers));
      assert.equal(server.service.list[0]!.accepted.length, 0);
      for (const headers of [{}, { origin: `http://${host}`, host }, { 'sec-fetch-site': 'same-origin' }]) {
        assert.equal(await post(headers as Record<string, string>), 202, JSON.stringify(headers));
      }
      assert.equal(await askAs(server, 'DELETE', '/api/connectors/plant-a', { origin: 'http://evil.example' }), 403);
      assert.ok(server.service.connector('plant-a'));
    }));

  it('reads the host name out of every form of the header', () => {
    const cases: [string, string | undefined][] = [
      ['a.b:80', 'a.b'],
      ['[::1]:80', '::1'],
      ['[::1]', '::1'],
      ['A.B.', 'a.b'],
      ['a:b:c', undefined],
      ['user@localhost', undefined],
      ['', undefined],
      ['localhost:80:90', undefined],
    ];
    for (const [header, name] of cases) assert.equal(hostName(header), name, header);
  });

  it('is refused on any other address without tokens and TLS, unless asked for', async () => {
    const options = { host: '0.0.0.0', port: 0, insecure: false, bodySizeMaxBytes: 1024 };
    const open = (tokens = [token('a', 'viewer')]) =>
      openServer({ ...options, tokens }, new MemoryService(), recordingLogger([]));
    const exposed = (error: unknown) => error instanceof NorthError && error.code === 'SERVER_EXPOSED';
    await assert.rejects(open(), exposed);
    await assert.rejects(open([]), exposed);
    const server = await openServer(
      { ...options, tokens: [], insecure: true },
      new MemoryService(),
      recordingLogger([]),
    );
    await server.close(1000);
  });

  it('says which port is taken', async () => {
    const first = await startServer();
    const port = Number(new URL(first.url).port);
    await assert.rejects(startServer(new MemoryService(), { port }), (error) => {
      return error instanceof NorthError && error.code === 'PORT_TAKEN' && error.message.includes(String(port));
    });
    await first.close(1000);
  });
});

describe('a bad request', () => {
  it('of any form is answered as JSON with a remedy and leaves the server running', () =>
    withServer(async (server) => {
      const cases: [string, number][] = [
        ['NONSENSE\r\n\r\n', 400],
        ['GET / HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
        [`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
        ['GET /%E0%A4%A HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 400],
        ['GET /%00 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
        [
          `POST ${CONTENT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: -1\r\n\r\n[]`,
          400,
        ],
        [
          `POST ${CONTENT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n`,
          400,
        ],
        [`GET /api/connectors/${'x'.repeat(300)} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`, 400],
        ['GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
        ['GET /page/../server.js HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
        ['GET /page/%2e%2e%2fserver.js HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
        ['DELETE / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
      ];
      for (const [bytes, status] of cases) {
        const answer = await sendRaw(server.url, bytes);
        assert.equal(answer.status, status, `${bytes.slice(0, 60)} → ${answer.text.slice(0, 300)}`);
        assert.match(answer.text, /"code":"[A-Z_]+","message":".+","remedy":".+"/);
      }
      assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
      assert.deepEqual(server.log, []);
    }));

  it('whose header drips in slowly is cut off', () =>
    withServer(
      async (server) => {
        const answer = await sendRaw(server.url, 'GET /healthz HTTP/1.1\r\nhost: loc');
        assert.equal(answer.status, 408);
        assert.match(answer.text, /REQUEST_TIMEOUT/);
      },
      undefined,
      { limits: { headersTimeoutMs: 300 } },
    ));

  it('whose body never ends is cut off', () =>
    withServer(
      async (server) => {
        const head = `POST ${CONTENT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[`;
        const answer = await sendRaw(server.url, head);
        assert.equal(answer.status, 408);
        // The room that it held is free again.
        assert.equal((await ask(server, 'POST', CONTENT)).status, 202);
      },
      undefined,
      { limits: { requestTimeoutMs: 300, requestsMax: 1 } },
    ));

  it('that goes away in the middle of its body frees its room and stores nothing', () =>
    withServer(
      async (server) => {
        const { hostname, port } = new URL(server.url);
        const socket = connect(Number(port), hostname);
        socket.write(
          `POST ${CONTENT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[`,
        );
        await eventually(
          async () => (await ask(server, 'POST', CONTENT)).status === 429,
          'the request to hold the room',
        );
        socket.destroy();
        await eventually(async () => (await ask(server, 'POST', CONTENT)).status === 202, 'the room to be free');
        assert.equal(server.service.list[0]!.accepted.length, 1);
        assert.deepEqual(server.log, []);
      },
      undefined,
      { limits: { requestsMax: 1 } },
    ));

  it('with a body that is refused unread still gets its answer, and then cannot go on for ever', () =>
    withServer(
      async (server) => {
        const { hostname, port } = new URL(server.url);
        const socket = connect(Number(port), hostname);
        let text = '';
        socket.on('error', () => undefined);
        socket.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        const closed = new Promise((resolve) => socket.once('close', resolve));
        socket.write('POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n');
        const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`;
        const timer = setInterval(() => socket.write(chunk), 5);
        socket.once('close', () => clearInterval(timer));
        await eventually(() => text.includes('ROUTE_UNKNOWN'), 'the answer');
        await within(closed, 'the server to cut the connection', 15_000);
      },
      undefined,
      { limits: { lingerMs: 300 } },
    ));
});

describe('closing', () => {
  it('answers what is under way and takes no new connection', async () => {
    const server = await startServer();
    const connector = server.service.list[0]!;
    let open = (): void => undefined;
    connector.gate = new Promise((resolve) => {
      open = resolve;
    });
    const pending = ask(server, 'POST', CONTENT);
    const idle = await fetch(`${server.url}/healthz`);
    await idle.text();
    let closed = false;
    const closing = server.close(10_000).then(() => {
      closed = true;
    });
    await eventually(
      async () =>
        fetch(`${server.url}/healthz`).then(
          () => false,
          () => true,
        ),
      'no new connections',
    );
    assert.equal(closed, false);
    open();
    assert.equal((await pending).status, 202);
    await within(closing, 'the server to close');
  });

  it('cuts what takes longer than the deadline', async () => {
    const server = await startServer();
    server.service.list[0]!.gate = new Promise(() => undefined);
    const pending = ask(server, 'POST', CONTENT).then(
      ({ status }) => status,
      () => 'cut',
    );
    await within(server.close(50), 'the server to close');
    assert.equal(await pending, 'cut');
  });
});

describe('every answer', () => {
  it('carries the headers that keep browsers from misusing it', () =>
    withServer(async (server) => {
      for (const path of ['/healthz', '/nowhere', '/', '/api/connectors', '/api/docs/', '/page/status.js']) {
        const { headers } = await ask(server, 'GET', path);
        assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
        assert.equal(headers.get('x-frame-options'), 'DENY', path);
        assert.match(headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/, path);
        assert.doesNotMatch(headers.get('content-security-policy') ?? '', /script-src[^;]*unsafe/, path);
        assert.equal(headers.has('access-control-allow-origin'), false, path);
      }
    }));
});

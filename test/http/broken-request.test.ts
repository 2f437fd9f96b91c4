import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { eventually, within } from '../kit/deadline.js';
import { startServer, withServer } from './memory-service.js';

const ELEMENTS = '[{"topic":"t","payload":"x"}]';
const CONTENT =
  'POST /api/content?connector=plant-a&type=messages HTTP/1.1\r\nhost: localhost\r\n' +
  `content-type: application/json\r\ncontent-length: ${ELEMENTS.length}\r\n\r\n${ELEMENTS}`;
const GARBAGE = '\0\x01 nothing that is HTTP\r\n\r\n';

/** Opens a connection and keeps what comes back. */
function open(url: string): { write(text: string): void; text(): string; closed: Promise<void> } {
  const { hostname, port } = new URL(url);
  let text = '';
  const socket = connect(Number(port), hostname);
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
  return { write: (more) => void socket.write(more, 'latin1'), text: () => text, closed };
}

function statuses(text: string): string[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status!);
}

describe('a broken request', () => {
  it('is not answered in the place of an accepted one that is under way before it', async () => {
    const server = await startServer();
    let pass = (): void => undefined;
    const connector = server.service.list[0]!;
    connector.gate = new Promise((resolve) => {
      pass = resolve;
    });
    const client = open(server.url);
    client.write(CONTENT + GARBAGE);
    // The parser has met the garbage before this later request is answered.
    await eventually(async () => (await fetch(`${server.url}/healthz`)).ok, 'the server to be through with the bytes');
    assert.equal(client.text(), '');
    pass();
    await within(client.closed, 'the connection to end');
    assert.deepEqual(statuses(client.text()), ['202']);
    await server.close(2000);
  });

  it('does not put an answer into the middle of another one', () =>
    withServer(async (server) => {
      const client = open(server.url);
      client.write('GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
      await eventually(() => client.text().includes('text/event-stream'), 'the stream to begin');
      client.write(GARBAGE);
      await within(client.closed, 'the connection to end');
      assert.deepEqual(statuses(client.text()), ['200']);
    }));

  it('is answered after the ones before it have been', () =>
    withServer(async (server) => {
      const client = open(server.url);
      client.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n');
      await eventually(() => statuses(client.text()).length === 1, 'the first answer');
      client.write(GARBAGE);
      await within(client.closed, 'the connection to end');
      assert.deepEqual(statuses(client.text()), ['200', '400']);
      assert.match(client.text(), /REQUEST_INVALID/);
    }));

  it('with a body that breaks is answered once', () =>
    withServer(async (server) => {
      const client = open(server.url);
      const head = CONTENT.split('\r\n\r\n')[0]!.replace(/content-length: \d+/, 'transfer-encoding: chunked');
      client.write(`${head}\r\n\r\n5\r\n[{"to\r\nno size\r\n`);
      await within(client.closed, 'the connection to end');
      assert.deepEqual(statuses(client.text()), ['400']);
    }));

  it('leaves no connection behind that holds up the end of the server, whatever its client does', async (t) => {
    const server = await startServer();
    const { hostname, port } = new URL(server.url);
    // These clients never close: one asks for a tunnel, the other says nonsense.
    const sockets = ['CONNECT other:443 HTTP/1.1\r\nhost: other\r\n\r\n', GARBAGE].map((bytes) => {
      const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
      t.after(() => socket.destroy());
      socket.on('error', () => undefined).write(bytes, 'latin1');
      return socket;
    });
    for (const socket of sockets) await within(once(socket, 'data'), 'the refusal');
    await within(server.close(60_000), 'the server to close');
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createWebSocketStream, WebSocketServer } from 'ws';
import { connectorSchema } from '../../src/config/connector.js';
import { testCertificates } from '../kit/certificates.js';
import { HAS_IPV6, startMosquitto } from '../kit/mosquitto.js';
import { openSubscriber } from '../kit/subscriber.js';
import { openSubject, type SettingsInput } from './subject.js';

async function assertDelivers(t: TestContext, settings: SettingsInput, subscriberUrl: string): Promise<void> {
  const subscriber = await openSubscriber({ url: subscriberUrl });
  const subject = await openSubject(t, settings);
  await subject.send(settings.url);
  await subscriber.waitFor(1);
  assert.deepEqual(subscriber.texts('t'), [settings.url]);
  const status = await subject.untilEmpty();
  assert.equal(status.broker?.startsWith(settings.url), true, `${status.broker}`);
  await subject.close();
  await subscriber.close();
}

test('a value arrives over each scheme of a URL, by name and by address', async (t) => {
  const { authority } = await testCertificates();
  const broker = await startMosquitto({ tls: true, websockets: true });
  t.after(() => broker.stop());
  const { port, tlsPort, wsPort, wssPort, url } = broker;
  const plain = [`mqtt://127.0.0.1:${port}`, `tcp://localhost:${port}`, `ws://127.0.0.1:${wsPort}/mqtt`];
  const encrypted = [
    `mqtts://127.0.0.1:${tlsPort}`,
    `ssl://localhost:${tlsPort}`,
    `tls://127.0.0.1:${tlsPort}`,
    `wss://localhost:${wssPort}/mqtt`,
  ];
  for (const each of plain) await assertDelivers(t, { url: each }, url);
  // The encrypted ports take nothing in plain, so that a scheme that did nothing would not get through.
  const authentication = { type: 'none', caFilePath: authority.certFile } as const;
  for (const each of encrypted) await assertDelivers(t, { url: each, authentication }, url);
});

test('a value arrives at an IPv6 address', { skip: HAS_IPV6 ? false : 'this machine has no ::1' }, async (t) => {
  const { authority } = await testCertificates();
  const broker = await startMosquitto({ tls: true });
  t.after(() => broker.stop());
  await assertDelivers(t, { url: `mqtt://[::1]:${broker.port}` }, broker.url);
  const authentication = { type: 'none', caFilePath: authority.certFile } as const;
  await assertDelivers(t, { url: `mqtts://[::1]:${broker.tlsPort}`, authentication }, broker.url);
});

test('the path and the query of a websocket URL go to the server, and the query is not shown', async (t) => {
  const broker = await startMosquitto();
  t.after(() => broker.stop());
  const asked: (string | undefined)[] = [];
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    verifyClient: ({ req }: { req: IncomingMessage }) => {
      asked.push(req.url);
      return req.url?.startsWith('/plant/mqtt') === true;
    },
  });
  t.after(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on('connection', (websocket) => {
    const stream = createWebSocketStream(websocket);
    const socket = connect(broker.port, '127.0.0.1');
    stream.pipe(socket).pipe(stream);
    stream.on('error', () => socket.destroy());
    socket.on('error', () => stream.destroy());
  });
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const base = `ws://127.0.0.1:${address.port}`;

  const lost = await openSubject(t, { url: `${base}/elsewhere` });
  const refusal = await lost.untilFailed('WEBSOCKET_REFUSED');
  assert.match(refusal.remedy, /path/);
  await lost.close();

  const subject = await openSubject(t, { url: `${base}/plant/mqtt?signature=geheim` });
  const status = await subject.untilOnline();
  assert.equal(asked.at(-1), '/plant/mqtt?signature=geheim');
  assert.equal(status.broker, `${base}/plant/mqtt`);
  assert.doesNotMatch(JSON.stringify([status, subject.log]), /geheim/);
});

test('credentials in a URL are refused with a hint where they belong, and are not repeated', () => {
  for (const url of ['mqtt://ann:s3cret@127.0.0.1', 'wss://ann@127.0.0.1/mqtt']) {
    const { error } = connectorSchema.safeParse({ id: 'subject', settings: { url } });
    const [issue] = error?.issues ?? [];
    assert.ok(issue !== undefined && issue.code === 'custom');
    assert.deepEqual(issue.path, ['settings', 'url']);
    assert.match(issue.message, /user name or password/);
    assert.match(String(issue.params?.hint), /authentication/);
    assert.doesNotMatch(JSON.stringify(issue), /s3cret|ann/);
  }
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { systemClock } from '../../src/core/clock.js';
import { type ServerCertificate, testCertificates } from '../kit/certificates.js';
import { eventually } from '../kit/deadline.js';
import { startMosquitto } from '../kit/mosquitto.js';
import { startScriptedBroker } from '../kit/scripted-broker.js';
import { openSubject, type SettingsInput } from './subject.js';

const { authority, server } = await testCertificates();
const authentication = { type: 'none', caFilePath: authority.certFile } as const;

const REFUSALS: readonly [ServerCertificate, string, RegExp][] = [
  ['selfSigned', 'TLS_SELF_SIGNED', /self-signed/],
  ['expired', 'TLS_EXPIRED', /expired/],
  ['notYetValid', 'TLS_EXPIRED', /not yet|only from|before/],
  ['wrongHost', 'TLS_HOST_MISMATCH', /other\.example/],
  ['untrusted', 'TLS_UNTRUSTED', /authority/],
];

for (const [certificate, code, says] of REFUSALS) {
  test(`a broker whose certificate is ${certificate} is refused as ${code}, and unverified taken with a warning`, async (t) => {
    const broker = await startMosquitto({ tls: certificate });
    t.after(() => broker.stop());
    const url = `mqtts://127.0.0.1:${broker.tlsPort}`;

    const strict = await openSubject(t, { url, authentication });
    const error = await strict.untilFailed(code);
    assert.match(error.message, says);
    assert.notEqual(error.remedy, '');
    await eventually(() => strict.failures.length >= 2, 'it to go on trying');
    await strict.close();

    const lenient = await openSubject(t, { url, authentication, rejectUnauthorized: false });
    await lenient.send('unverified');
    const status = await lenient.untilEmpty();
    assert.equal(status.state, 'online');
    const [ofSettings, ofConnection, ...others] = status.warnings;
    assert.match(ofSettings ?? '', /rejectUnauthorized is false.*Not for production/);
    assert.match(ofConnection ?? '', /not verified \(rejectUnauthorized: false\)/);
    assert.match(ofConnection ?? '', says);
    assert.deepEqual(others, []);
    assert.ok(
      lenient.log.some((line) => line.startsWith(`warn ${code} `)),
      lenient.log.join(' | '),
    );
  });
}

test('a verified certificate gives no warning until it comes near its end', async (t) => {
  const broker = await startMosquitto({ tls: true });
  t.after(() => broker.stop());
  const url = `mqtts://127.0.0.1:${broker.tlsPort}`;
  const subject = await openSubject(t, { url, authentication });
  assert.deepEqual((await subject.untilOnline()).warnings, []);
  await subject.close();
  // It is valid for 365 days; seen from 340 days later, 24 full ones are left.
  const clock = { ...systemClock(), wallMs: () => Date.now() + 340 * 86_400_000 };
  const later = await openSubject(t, { url, authentication }, { clock });
  assert.deepEqual((await later.untilOnline()).warnings, ["The broker's certificate expires in 24 days."]);
});

interface Greeting {
  servername: unknown;
  alpn: string | false | null;
  protocol: string | null;
}

/** What a socket of TLS has; `servername` is missing in the declared type of the server's side. */
interface Secured {
  servername?: unknown;
  alpnProtocol: string | false | null;
  getProtocol(): string | null;
}

/** A broker that notes what the TLS handshake agreed on. */
async function startListening(t: TestContext, options: TlsOptions): Promise<{ port: number; greetings: Greeting[] }> {
  const greetings: Greeting[] = [];
  const { certFile, keyFile } = server.good;
  const broker = await startScriptedBroker({
    tls: { cert: readFileSync(certFile), key: readFileSync(keyFile), ...options },
    onConnection: (peer) => {
      // With `tls` all its sockets are of TLS.
      const socket = peer.socket as Socket & Secured;
      greetings.push({ servername: socket.servername, alpn: socket.alpnProtocol, protocol: socket.getProtocol() });
    },
  });
  t.after(() => broker.close());
  return { port: broker.port, greetings };
}

test('minTlsVersion refuses a broker that speaks only what is older', async (t) => {
  const { port, greetings } = await startListening(t, { maxVersion: 'TLSv1.2' });
  const url = `mqtts://127.0.0.1:${port}`;
  const strict = await openSubject(t, { url, authentication, minTlsVersion: '1.3' });
  assert.match((await strict.untilFailed('TLS_FAILED')).remedy, /minTlsVersion/);
  assert.equal(greetings.length, 0);
  await strict.close();
  const subject = await openSubject(t, { url, authentication });
  await subject.untilOnline();
  assert.equal(greetings[0]?.protocol, 'TLSv1.2');
});

test('alpn is offered to the broker, and servername takes the place of the host', async (t) => {
  const { port, greetings } = await startListening(t, { ALPNProtocols: ['http/1.1', 'x-amzn-mqtt-ca'] });
  const url = `mqtts://127.0.0.1:${port}`;
  const greetingWith = async (settings: Partial<SettingsInput>): Promise<Greeting | undefined> => {
    const subject = await openSubject(t, { url, authentication, ...settings });
    await subject.untilOnline();
    await subject.close();
    return greetings.pop();
  };
  assert.deepEqual(await greetingWith({}), { servername: false, alpn: false, protocol: 'TLSv1.3' });
  assert.equal((await greetingWith({ alpn: ['x-amzn-mqtt-ca'] }))?.alpn, 'x-amzn-mqtt-ca');
  assert.equal((await greetingWith({ alpn: 'x-amzn-mqtt-ca' }))?.alpn, 'x-amzn-mqtt-ca');
  assert.equal((await greetingWith({ servername: 'localhost' }))?.servername, 'localhost');
  const wrong = await openSubject(t, { url, authentication, servername: 'broker.example' });
  assert.match((await wrong.untilFailed('TLS_HOST_MISMATCH')).message, /broker\.example/);
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { describe, it } from 'node:test';
import { connect } from 'node:tls';
import { testCertificates } from '../kit/certificates.js';
import { within } from '../kit/deadline.js';
import { bearer, token, withServer } from './memory-service.js';

describe('the server with a certificate', () => {
  it('speaks HTTPS, and nothing older than TLS 1.2', async () => {
    const { authority, server: servers } = await testCertificates();
    const tls = { cert: readFileSync(servers.good.certFile), key: readFileSync(servers.good.keyFile) };
    const ca = readFileSync(authority.certFile);
    await withServer(
      async (server) => {
        assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/);
        const status = new Promise((resolve, reject) => {
          const get = request(`${server.url}/api/connectors`, { ca, headers: bearer('eye') }, (response) => {
            response.resume();
            resolve(response.statusCode);
          });
          get.on('error', reject).end();
        });
        assert.equal(await within(status, 'an answer'), 200);
        await assert.rejects(fetch(server.url.replace('https', 'http')), TypeError);
        const old = new Promise<string>((resolve) => {
          const { hostname, port } = new URL(server.url);
          const socket = connect({
            host: hostname,
            port: Number(port),
            ca,
            maxVersion: 'TLSv1.1',
            minVersion: 'TLSv1',
          });
          socket.on('error', () => resolve('refused'));
          socket.on('secureConnect', () => resolve('accepted'));
        });
        assert.equal(await within(old, 'a refusal'), 'refused');
      },
      undefined,
      { tls, tokens: [token('eye', 'viewer')] },
    );
  });
});

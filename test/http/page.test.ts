import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { type BrowserPage, closeBrowser, openPage } from '../kit/browser.js';
import { MemoryService, startServer, type TestServer, token, withServer } from './memory-service.js';

const BODY = 'document.body.innerText';

async function withPage(server: TestServer, use: (page: BrowserPage) => Promise<void>, options = {}): Promise<void> {
  const page = await openPage(`${server.url}/`, options);
  try {
    await use(page);
  } finally {
    await page.close();
  }
}

after(closeBrowser);

describe('the status page', () => {
  it('shows each connector in words and figures, live', () =>
    withServer(async (server) => {
      const [first, second] = server.service.list;
      second!.state = 'waiting';
      second!.description = 'reconnecting, third attempt, refused: bad user name or password';
      second!.lastError = {
        code: 'BROKER_AUTHENTICATION',
        message: 'The broker refused the user name or password.',
        remedy: 'Check user name and password.',
        atMs: Date.now() - 42_000,
      };
      second!.hold('waiting');
      second!.hold('quarantined');
      second!.oldestAcceptedAtMs = Date.now() - 754_000;
      const timer = setInterval(() => {
        first!.counts.telemetry.published += 10;
      }, 20);
      await withPage(server, async (page) => {
        await page.until(`${BODY}.includes('plant-b')`, 'the connectors');
        const text = String(await page.evaluate(BODY));
        assert.match(text, /online with broker\.example\.com, at least once/);
        assert.match(text, /third attempt, refused: bad user name or password/);
        assert.match(text, /Problem, 4\d s ago: The broker refused[\s\S]*Check user name and password\./);
        assert.match(text, /12 min 3\d s/);
        await page.until(`/\\d{2,}\\/s/.test(${BODY})`, 'a rate');
        first!.emit('state', { id: 'plant-a', state: 'draining', description: 'finishing what is in flight' });
        await page.until(`${BODY}.includes('finishing what is in flight')`, 'the event');
        assert.deepEqual(page.problems, []);
      });
      clearInterval(timer);
    }, new MemoryService('plant-a', 'plant-b')));

  it('shows markup in names, errors and events as the text that it is', () =>
    withServer(async (server) => {
      const evil = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
      const connector = server.service.list[0]!;
      connector.description = evil;
      connector.warnings = [evil];
      connector.lastError = { code: 'X', message: evil, remedy: evil, atMs: Date.now() };
      await withPage(server, async (page) => {
        await page.until(`${BODY}.includes('onerror')`, 'the text');
        connector.emit('quarantined', { id: 'plant-a', lane: 'telemetry', code: 'PUBLISH_REFUSED', reason: evil });
        await page.until(`document.querySelector('#events li') !== null`, 'the event');
        assert.equal(await page.evaluate('window.hacked'), undefined);
        assert.equal(await page.evaluate(`document.querySelectorAll('main img, main script').length`), 0);
        assert.deepEqual(page.problems, []);
      });
    }));

  it('says when the stream is lost, and finds it again', async () => {
    const first = await startServer();
    const port = Number(new URL(first.url).port);
    await withPage(first, async (page) => {
      await page.until(`${BODY}.includes('Live')`, 'the stream');
      await first.close(1000);
      await page.until(`${BODY}.includes('Connection lost')`, 'the loss to show');
      assert.equal(await page.evaluate(`document.body.classList.contains('stale')`), true);
      await withServer(
        () => page.until(`${BODY}.includes('Live')`, 'the stream to be back').then(() => undefined),
        undefined,
        { port },
      );
    });
  });

  it('says that online is not well when nothing is acknowledged although messages wait', () =>
    withServer(async (server) => {
      const connector = server.service.list[0]!;
      connector.hold('waiting');
      connector.sinceMs = Date.now() - 600_000;
      connector.lastAcknowledgedAtMs = Date.now() - 300_000;
      await withPage(server, async (page) => {
        await page.until(`document.querySelector('.card') !== null`, 'the card');
        assert.equal(await page.evaluate(`document.querySelector('.card').dataset.mood`), 'bad');
        connector.lastAcknowledgedAtMs = Date.now();
        await page.until(`document.querySelector('.card').dataset.mood === 'good'`, 'the card to be well');
      });
    }));

  it('works with tokens: the browser asks once for name and secret', () =>
    withServer(
      async (server) => {
        const credentials = { username: 'eye', password: 'eye-secret-0123456789' };
        await withPage(
          server,
          async (page) => {
            await page.until(`${BODY}.includes('Live')`, 'the stream');
            assert.match(String(await page.evaluate(BODY)), /plant-a/);
          },
          { credentials },
        );
      },
      undefined,
      { tokens: [token('eye', 'viewer')] },
    ));

  it('fits a phone, in the dark, too', () =>
    withServer(async (server) => {
      server.service.list[0]!.description = `online with ${'a-very-long-host-name.'.repeat(8)}example.com`;
      await withPage(
        server,
        async (page) => {
          await page.until(`document.querySelector('.card') !== null`, 'the card');
          assert.equal(await page.evaluate('document.documentElement.scrollWidth <= window.innerWidth'), true);
          const color = String(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
          const brightness = (color.match(/\d+/g) ?? []).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
          assert.ok(brightness < 150, color);
        },
        { width: 360, height: 700, colorScheme: 'dark' },
      );
    }));
});

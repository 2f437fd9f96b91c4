import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NorthError } from '../../src/core/error.js';
import { VIEWER_BACKLOG_MAX_BYTES } from '../../src/http/event-stream.js';
import { eventually } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { EventViewer } from './event-viewer.js';
import { bearer, MemoryService, type TestServer, token, withServer } from './memory-service.js';

interface Snapshot {
  atMs: number;
  version: string;
  ready: boolean;
  connectors: { id: string; state: string; description: string }[];
  inputs: unknown[];
}

async function withClock(
  use: (server: TestServer, clock: ManualClock) => Promise<void>,
  service?: MemoryService,
  options = {},
): Promise<void> {
  const clock = new ManualClock();
  await withServer((server) => use(server, clock), service, { clock, ...options });
}

async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
}

describe('GET /api/events', () => {
  it('gives a snapshot at once and one every second', () =>
    withClock(async (server, clock) => {
      const viewer = new EventViewer(server.url);
      const first = (await viewer.until('status')) as unknown as Snapshot;
      assert.match(viewer.head, /^HTTP\/1\.1 200 /);
      assert.match(viewer.head, /content-type: text\/event-stream/i);
      assert.match(viewer.head, /x-content-type-options: nosniff/i);
      assert.equal(first.version, '1.2.3');
      assert.deepEqual(
        first.connectors.map(({ id, state }) => `${id} ${state}`),
        ['plant-a online'],
      );
      server.service.list[0]!.state = 'waiting';
      clock.advance(1000);
      const second = (await viewer.until('status', 2)) as unknown as Snapshot;
      assert.equal(second.connectors[0]?.state, 'waiting');
      assert.equal(second.atMs - first.atMs, 1000);
      viewer.close();
    }));

  it('tells every viewer what happens as it happens', () =>
    withClock(async (server) => {
      const viewers = [1, 2, 3].map(() => new EventViewer(server.url));
      for (const viewer of viewers) await viewer.until('status');
      const connector = server.service.list[0]!;
      connector.emit('state', { id: 'plant-a', state: 'waiting', description: 'reconnecting,\nfirst attempt' });
      const error = new NorthError('BROKER_REFUSED', 'refused', { place: 'broker.example.com:1883' });
      connector.emit('failure', { id: 'plant-a', error });
      for (const viewer of viewers) {
        const state = await viewer.until('state');
        assert.equal(state.description, 'reconnecting,\nfirst attempt');
        const failure = (await viewer.until('failure')) as { error: { code: string; remedy: string } };
        assert.equal(failure.error.code, 'BROKER_REFUSED');
        assert.ok(failure.error.remedy.length > 0);
        viewer.close();
      }
    }));

  it('asks nothing of the connectors when nobody looks', () =>
    withClock(async (server, clock) => {
      assert.equal(server.service.listenerCount, 0);
      const viewer = new EventViewer(server.url);
      await viewer.until('status');
      assert.equal(server.service.listenerCount, 1);
      viewer.close();
      await eventually(() => server.service.listenerCount === 0, 'the stream to stop listening');
      assert.equal(clock.waitsMs.length, 0);
      const again = new EventViewer(server.url);
      await again.until('status');
      clock.advance(1000);
      await again.until('status', 2);
      again.close();
    }));

  it('counts what comes too fast instead of telling each', () =>
    withClock(async (server, clock) => {
      const viewer = new EventViewer(server.url);
      await viewer.until('status');
      const connector = server.service.list[0]!;
      const entry = { id: 'plant-a', lane: 'telemetry', code: 'PUBLISH_REFUSED', reason: 'no' } as const;
      for (let count = 0; count < 10_050; count++) connector.emit('quarantined', entry);
      clock.advance(1000);
      assert.deepEqual(await viewer.until('suppressed'), { id: 'plant-a', count: 10_000 });
      assert.equal(viewer.named('quarantined').length, 50);
      connector.emit('quarantined', entry);
      await viewer.until('quarantined', 51);
      viewer.close();
    }));

  it('shows a limited token only its connectors', () =>
    withClock(
      async (server) => {
        const viewer = new EventViewer(server.url, bearer('guest'));
        const all = new EventViewer(server.url, bearer('eye'));
        const snapshot = (await viewer.until('status')) as unknown as Snapshot;
        assert.deepEqual(
          snapshot.connectors.map(({ id }) => id),
          ['plant-b'],
        );
        assert.equal(((await all.until('status')) as unknown as Snapshot).connectors.length, 2);
        server.service.list[0]!.emit('warning', { id: 'plant-a', code: 'X', message: 'of a' });
        server.service.list[1]!.emit('warning', { id: 'plant-b', code: 'X', message: 'of b' });
        await all.until('warning', 2);
        assert.equal((await viewer.until('warning')).message, 'of b');
        assert.equal(viewer.named('warning').length, 1);
        viewer.close();
        all.close();
      },
      new MemoryService('plant-a', 'plant-b'),
      { tokens: [token('guest', 'viewer', ['plant-b']), token('eye', 'viewer')] },
    ));

  it('drops a viewer that does not read, at a bounded backlog, and goes on for the others', () =>
    withClock(async (server, clock) => {
      const slow = new EventViewer(server.url);
      await slow.until('status');
      slow.socket.pause();
      const quick = new EventViewer(server.url);
      await quick.until('status');
      // About a quarter of a megabyte a second.
      server.service.list[0]!.description = 'x'.repeat(VIEWER_BACKLOG_MAX_BYTES / 4);
      for (let second = 0; (await metric(server, 'mqtt_north_event_viewers_dropped_total')) === 0; second++) {
        assert.ok(second < 200, 'the backlog of the slow viewer grows without bound');
        clock.advance(1000);
        await quick.until('status', second + 2);
      }
      assert.equal(await metric(server, 'mqtt_north_event_viewers'), 1);
      const before = quick.named('status').length;
      clock.advance(1000);
      await quick.until('status', before + 1);
      quick.close();
      slow.close();
    }));

  it('shows that it lives while a status takes long, and shows the silent connector for what it is', () =>
    withClock(async (server, clock) => {
      const viewer = new EventViewer(server.url);
      await viewer.until('status');
      let raw = '';
      viewer.socket.on('data', (text) => {
        raw += text;
      });
      server.service.list[0]!.gate = new Promise(() => undefined);
      clock.advance(1000);
      clock.advance(1000);
      await eventually(() => raw.includes(': still here'), 'a heartbeat');
      clock.advance(5000);
      const snapshot = (await viewer.until('status', 2)) as unknown as Snapshot;
      assert.match(snapshot.connectors[0]?.description ?? '', /no status/);
      viewer.close();
    }));

  it('survives a service that throws, and says so in the log', () =>
    withClock(async (server, clock) => {
      const viewer = new EventViewer(server.url);
      await viewer.until('status');
      const readiness = server.service.readiness;
      server.service.readiness = () => {
        throw new Error('boom');
      };
      clock.advance(1000);
      await eventually(() => server.log.some(({ level }) => level === 'error'), 'a line in the log');
      server.service.readiness = readiness;
      clock.advance(1000);
      await viewer.until('status', 2);
      viewer.close();
    }));

  it('ends when the server closes', async () => {
    let viewer: EventViewer | undefined;
    await withClock(async (server) => {
      viewer = new EventViewer(server.url);
      await viewer.until('status');
    });
    await eventually(() => viewer?.closed, 'the stream to end');
  });
});

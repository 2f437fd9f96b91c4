import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { METRICS } from '../../src/http/metrics.js';
import { renderMetricsReference } from '../../src/http/metrics-reference.js';
import { ManualClock } from '../kit/manual-clock.js';
import { ROOT_FOLDER } from '../kit/process.js';
import { MemoryService, type TestServer, withServer } from './memory-service.js';

interface Family {
  type: string;
  help: string;
  /** By the sample's name with its labels, sorted: `name{a="b"}`. */
  samples: Map<string, number>;
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]?Inf|[-+0-9.eE]+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** Strict after the text format's description: whatever does not fit is an error, also samples out of their family. */
function parse(text: string): Map<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line ends');
  const families = new Map<string, Family>();
  let current: Family | undefined;
  let currentName = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const help = /^# HELP (\S+) (.*)$/.exec(line);
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line);
    if (help !== null) {
      currentName = help[1]!;
      assert.ok(!families.has(currentName), `${currentName} comes twice`);
      current = { help: help[2]!, type: '', samples: new Map() };
      families.set(currentName, current);
    } else if (type !== null) {
      assert.equal(type[1], currentName);
      current!.type = type[2]!;
    } else {
      const sample = SAMPLE.exec(line);
      assert.ok(sample !== null && current !== undefined, `no sample: ${line}`);
      const base = current.type === 'histogram' ? sample[1]!.replace(/_(bucket|sum|count)$/, '') : sample[1]!;
      assert.equal(base, currentName, `${line} stands under ${currentName}`);
      const key = `${sample[1]}{${labels(sample[2] ?? '')
        .sort()
        .join(',')}}`;
      assert.ok(!current.samples.has(key), `${key} comes twice`);
      current.samples.set(key, Number(sample[3]!.replace('Inf', 'Infinity')));
    }
  }
  return families;
}

function labels(text: string): string[] {
  const found: string[] = [];
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const label = LABEL.exec(text);
    assert.ok(label !== null, `no labels: ${text}`);
    found.push(`${label[1]}="${label[2]}"`);
  }
  return found;
}

async function scrape(server: TestServer): Promise<Map<string, Family>> {
  const response = await fetch(`${server.url}/metrics`);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  return parse(await response.text());
}

function value(families: Map<string, Family>, key: string): number | undefined {
  const name = key.slice(0, key.indexOf('{')).replace(/_(bucket|sum|count)$/, '');
  return families.get(name)?.samples.get(key) ?? families.get(key.slice(0, key.indexOf('{')))?.samples.get(key);
}

describe('GET /metrics', () => {
  it('gives every declared metric in the form that Prometheus reads', () =>
    withServer(async (server) => {
      server.service.list[0]!.ackLatency = { bucketsSeconds: [0.01, 0.1], counts: [3, 2], sumSeconds: 0.9, count: 6 };
      server.service.inputStatuses = [
        {
          id: 'files',
          type: 'folder',
          state: 'running',
          description: '',
          deliveredCount: 4,
          failedCount: 1,
          lastDeliveredAtMs: 1,
          lastError: undefined,
        },
      ];
      server.service.list[0]!.lastAcknowledgedAtMs = 5000;
      await fetch(`${server.url}/healthz`);
      const families = await scrape(server);
      for (const metric of METRICS) {
        const family = families.get(metric.name);
        assert.equal(family?.type, metric.type, metric.name);
        assert.ok((family?.samples.size ?? 0) > 0, `${metric.name} has a sample`);
        for (const key of family?.samples.keys() ?? []) {
          const names = labels(key.slice(key.indexOf('{') + 1, -1)).map((label) => label.slice(0, label.indexOf('=')));
          const expected =
            metric.type === 'histogram' && key.includes('_bucket{') ? [...metric.labels, 'le'] : metric.labels;
          assert.deepEqual(names.sort(), [...expected].sort(), key);
        }
      }
      assert.ok(families.has('process_cpu_seconds_total') && families.has('nodejs_heap_size_used_bytes'));
    }));

  it('reads all values from the status at the moment of the scrape', () => {
    const clock = new ManualClock();
    return withServer(
      async (server) => {
        const connector = server.service.list[0]!;
        connector.counts.alert.published = 7;
        connector.counts.telemetry.possibleDuplicates = 2;
        connector.hold('waiting');
        connector.hold('waiting');
        connector.hold('quarantined');
        connector.oldestAcceptedAtMs = clock.wallMs() - 90_500;
        connector.ackLatency = { bucketsSeconds: [0.01, 0.1], counts: [3, 2], sumSeconds: 0.9, count: 6 };
        const first = await scrape(server);
        const expected: [string, number][] = [
          ['mqtt_north_messages_published_total{connector="plant-a",lane="alert"}', 7],
          ['mqtt_north_messages_possible_duplicates_total{connector="plant-a",lane="telemetry"}', 2],
          ['mqtt_north_cache_messages{connector="plant-a",state="waiting"}', 2],
          ['mqtt_north_cache_messages{connector="plant-a",state="quarantined"}', 1],
          ['mqtt_north_oldest_waiting_seconds{connector="plant-a"}', 90.5],
          ['mqtt_north_session_state{connector="plant-a",state="online"}', 1],
          ['mqtt_north_session_state{connector="plant-a",state="waiting"}', 0],
          ['mqtt_north_reconnects_total{connector="plant-a"}', 3],
          ['mqtt_north_publish_ack_seconds_bucket{connector="plant-a",le="0.01"}', 3],
          ['mqtt_north_publish_ack_seconds_bucket{connector="plant-a",le="0.1"}', 5],
          ['mqtt_north_publish_ack_seconds_bucket{connector="plant-a",le="+Inf"}', 6],
          ['mqtt_north_publish_ack_seconds_sum{connector="plant-a"}', 0.9],
          ['mqtt_north_publish_ack_seconds_count{connector="plant-a"}', 6],
        ];
        for (const [key, number] of expected) assert.equal(value(first, key), number, key);
        connector.state = 'waiting';
        connector.oldestAcceptedAtMs = clock.wallMs() + 60_000;
        const second = await scrape(server);
        assert.equal(value(second, 'mqtt_north_session_state{connector="plant-a",state="online"}'), 0);
        assert.equal(value(second, 'mqtt_north_session_state{connector="plant-a",state="waiting"}'), 1);
        assert.equal(value(second, 'mqtt_north_oldest_waiting_seconds{connector="plant-a"}'), 0, 'the clock went back');
        assert.equal(value(second, 'mqtt_north_http_requests_total{method="GET",route="/metrics",status="200"}'), 1);
      },
      undefined,
      { clock },
    );
  });

  it('has a bounded number of rows, whatever paths and methods clients try', () =>
    withServer(async (server) => {
      for (let index = 0; index < 20; index++) await fetch(`${server.url}/nowhere/${index}`);
      const rows = [...((await scrape(server)).get('mqtt_north_http_requests_total')?.samples ?? [])];
      assert.deepEqual(rows, [['mqtt_north_http_requests_total{method="GET",route="unknown",status="404"}', 20]]);
    }));

  it('still answers when a connector gives no status', () =>
    withServer(async (server) => {
      server.service.list[0]!.failure = new Error('gone');
      const families = await scrape(server);
      assert.equal(value(families, 'mqtt_north_session_state{connector="plant-a",state="failed"}'), 1);
      assert.equal(value(families, 'mqtt_north_cache_bytes{connector="plant-a"}'), undefined);
      assert.equal(value(families, 'mqtt_north_cache_bytes{connector="plant-b"}'), 4096);
    }, new MemoryService('plant-a', 'plant-b')));
});

describe('docs/metrics.md', () => {
  it('says what the table declares', () => {
    assert.equal(readFileSync(join(ROOT_FOLDER, 'docs/metrics.md'), 'utf8'), renderMetricsReference());
  });
});

/**
 * Every metric of the product, declared once: the page at /metrics and docs/metrics.md are made from this table.
 *
 * All values are read from the status at the moment of the scrape. Nothing is counted along beside it, so that no gauge
 * can drift or freeze.
 */
import { CONNECTOR_STATES, type ConnectorStatus, type FailedStatus, type LaneCounts } from '../connector/connector.js';
import { LANES } from '../core/lane.js';
import type { InputStatus } from '../inputs/input.js';
import { type AnyStatus, hasCache, hasStatus } from './connector-view.js';

/** What one scrape sees. */
export interface Sample {
  version: string;
  nowMs: number;
  connectors: readonly AnyStatus[];
  inputs: readonly InputStatus[];
  requests: readonly { method: string; route: string; status: number; count: number }[];
  viewerCount: number;
  droppedViewerCount: number;
}

export type Labels = Readonly<Record<string, string>>;

export interface MetricValue {
  labels: Labels;
  value: number;
  /** Appended to the metric's name: `_bucket`, `_sum`, `_count` of a histogram. */
  suffix?: string;
}

export interface Metric {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  read(sample: Sample): MetricValue[];
}

type Answered = ConnectorStatus | FailedStatus;

function ofConnectors(read: (status: Answered, labels: Labels) => MetricValue[]): Metric['read'] {
  return (sample) => sample.connectors.filter(hasStatus).flatMap((status) => read(status, { connector: status.id }));
}

/** Of a cache that could not be opened nothing is said: a zero would look as if nothing waited. */
function ofCaches(
  read: (cache: ConnectorStatus['cache'], labels: Labels, sample: Sample) => MetricValue[],
): Metric['read'] {
  return (sample) =>
    sample.connectors.filter(hasCache).flatMap(({ id, cache }) => read(cache, { connector: id }, sample));
}

function gaugeOf(read: (status: Answered) => number | undefined): Metric['read'] {
  return ofConnectors((status, labels) => {
    const value = read(status);
    return value === undefined ? [] : [{ labels, value }];
  });
}

function perLane(field: keyof LaneCounts): Metric['read'] {
  return ofConnectors((status, labels) =>
    LANES.map((lane) => ({ labels: { ...labels, lane }, value: status.counts[lane][field] })),
  );
}

function laneCounter(name: string, help: string, field: keyof LaneCounts): Metric {
  return { name, type: 'counter', help, labels: ['connector', 'lane'], read: perLane(field) };
}

const sinceStart = 'since the process started';

export const METRICS: readonly Metric[] = [
  {
    name: 'mqtt_north_info',
    type: 'gauge',
    help: 'Always 1; the version is in the label.',
    labels: ['version'],
    read: (sample) => [{ labels: { version: sample.version }, value: 1 }],
  },
  laneCounter('mqtt_north_messages_accepted_total', `Messages accepted ${sinceStart}.`, 'accepted'),
  laneCounter('mqtt_north_messages_published_total', `Messages that the broker has taken, ${sinceStart}.`, 'published'),
  laneCounter(
    'mqtt_north_messages_quarantined_total',
    `Messages set aside with a reason ${sinceStart}.`,
    'quarantined',
  ),
  laneCounter(
    'mqtt_north_messages_dropped_total',
    `Messages dropped ${sinceStart} because the cache was full and onFull is drop-oldest.`,
    'dropped',
  ),
  laneCounter(
    'mqtt_north_messages_possible_duplicates_total',
    `Messages sent again ${sinceStart} although the broker may have taken them before.`,
    'possibleDuplicates',
  ),
  laneCounter(
    'mqtt_north_messages_no_subscribers_total',
    `Messages ${sinceStart} for which the broker said that nobody subscribes to them.`,
    'noSubscribers',
  ),
  {
    name: 'mqtt_north_cache_messages',
    type: 'gauge',
    help: 'Messages in the cache, by state: waiting, quarantined, archived.',
    labels: ['connector', 'state'],
    read: ofCaches((cache, labels) => [
      {
        labels: { ...labels, state: 'waiting' },
        value: LANES.reduce((sum, lane) => sum + cache.waitingCounts[lane], 0),
      },
      { labels: { ...labels, state: 'quarantined' }, value: cache.quarantinedCount },
      { labels: { ...labels, state: 'archived' }, value: cache.archivedCount },
    ]),
  },
  {
    name: 'mqtt_north_waiting_messages',
    type: 'gauge',
    help: 'Messages that wait for the broker, by lane.',
    labels: ['connector', 'lane'],
    read: ofCaches((cache, labels) =>
      LANES.map((lane) => ({ labels: { ...labels, lane }, value: cache.waitingCounts[lane] })),
    ),
  },
  {
    name: 'mqtt_north_cache_bytes',
    type: 'gauge',
    help: 'Bytes that the cache uses on disk.',
    labels: ['connector'],
    read: ofCaches((cache, labels) => [{ labels, value: cache.sizeBytes }]),
  },
  {
    name: 'mqtt_north_oldest_waiting_seconds',
    type: 'gauge',
    help: 'Age of the oldest waiting message; 0 when none waits.',
    labels: ['connector'],
    read: ofCaches((cache, labels, { nowMs }) => {
      const ageMs = cache.oldestAcceptedAtMs === undefined ? 0 : nowMs - cache.oldestAcceptedAtMs;
      // A clock that was set back would make it negative.
      return [{ labels, value: Math.max(0, ageMs) / 1000 }];
    }),
  },
  {
    name: 'mqtt_north_archive_evicted_total',
    type: 'counter',
    help: 'Archived messages that gave way before their time because the cache was full, since it was opened.',
    labels: ['connector'],
    read: ofCaches((cache, labels) => [{ labels, value: cache.archiveEvictedCount }]),
  },
  {
    name: 'mqtt_north_cache_findings',
    type: 'gauge',
    help: 'Damages that were found in the cache, kept over restarts.',
    labels: ['connector'],
    read: ofCaches((cache, labels) => [{ labels, value: cache.findings.length }]),
  },
  {
    name: 'mqtt_north_session_state',
    type: 'gauge',
    help: `1 for the state that the connector is in, 0 for the others: ${CONNECTOR_STATES.join(', ')}.`,
    labels: ['connector', 'state'],
    read: (sample) =>
      sample.connectors.flatMap(({ id, state }) =>
        CONNECTOR_STATES.map((name) => ({ labels: { connector: id, state: name }, value: name === state ? 1 : 0 })),
      ),
  },
  {
    name: 'mqtt_north_publish_ack_seconds',
    type: 'histogram',
    help: `Time from publishing a message to its acknowledgement, ${sinceStart}.`,
    labels: ['connector'],
    read: ofConnectors(readLatency),
  },
  {
    name: 'mqtt_north_last_acknowledged_seconds',
    type: 'gauge',
    help: 'When the broker last acknowledged anything, in seconds since 1970; absent when it never did.',
    labels: ['connector'],
    read: gaugeOf(({ lastAcknowledgedAtMs }) =>
      lastAcknowledgedAtMs === undefined ? undefined : lastAcknowledgedAtMs / 1000,
    ),
  },
  {
    name: 'mqtt_north_reconnects_total',
    type: 'counter',
    help: `Connections made again after a loss, ${sinceStart}.`,
    labels: ['connector'],
    read: gaugeOf((status) => status.reconnects),
  },
  {
    name: 'mqtt_north_inflight_messages',
    type: 'gauge',
    help: 'Messages on the wire whose acknowledgement is awaited.',
    labels: ['connector'],
    read: gaugeOf((status) => status.inflight),
  },
  {
    name: 'mqtt_north_window_messages',
    type: 'gauge',
    help: 'How many messages may be on the wire at once.',
    labels: ['connector'],
    read: gaugeOf((status) => status.window),
  },
  {
    name: 'mqtt_north_input_delivered_total',
    type: 'counter',
    help: `Samples or files that an input has delivered, ${sinceStart}.`,
    labels: ['input'],
    read: (sample) => sample.inputs.map(({ id, deliveredCount }) => ({ labels: { input: id }, value: deliveredCount })),
  },
  {
    name: 'mqtt_north_input_failed_total',
    type: 'counter',
    help: `Samples or files that an input could not deliver, ${sinceStart}.`,
    labels: ['input'],
    read: (sample) => sample.inputs.map(({ id, failedCount }) => ({ labels: { input: id }, value: failedCount })),
  },
  {
    name: 'mqtt_north_http_requests_total',
    type: 'counter',
    help: `Requests answered ${sinceStart}, by method, route and status.`,
    labels: ['method', 'route', 'status'],
    read: (sample) =>
      sample.requests.map(({ method, route, status, count }) => ({
        labels: { method, route, status: String(status) },
        value: count,
      })),
  },
  {
    name: 'mqtt_north_event_viewers',
    type: 'gauge',
    help: 'Viewers of the event stream.',
    labels: [],
    read: (sample) => [{ labels: {}, value: sample.viewerCount }],
  },
  {
    name: 'mqtt_north_event_viewers_dropped_total',
    type: 'counter',
    help: `Viewers of the event stream that were dropped because they did not read, ${sinceStart}.`,
    labels: [],
    read: (sample) => [{ labels: {}, value: sample.droppedViewerCount }],
  },
];

function readLatency(status: Answered, labels: Labels): MetricValue[] {
  const latency = status.ackLatency;
  if (latency === undefined) return [];
  let cumulated = 0;
  const values: MetricValue[] = latency.bucketsSeconds.map((bound, index) => {
    cumulated += latency.counts[index] ?? 0;
    return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: cumulated };
  });
  values.push({ suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: latency.count });
  values.push({ suffix: '_sum', labels, value: latency.sumSeconds });
  values.push({ suffix: '_count', labels, value: latency.count });
  return values;
}

/** The page at /metrics: a sample of everything at the moment of the scrape, in Prometheus' text format. */
import type { Registry } from 'prom-client';
import type { Clock } from '../core/clock.js';
import { lazily } from '../core/lazily.js';
import { type Caller, mayReach } from './caller.js';
import { readStatus } from './connector-view.js';
import type { EventStream } from './event-stream.js';
import { METRICS, type Metric, type Sample } from './metrics.js';
import type { Service } from './service.js';

/** Its measurements of the process wake it up a hundred times a second; without scrapes nobody would see them. */
const prometheus = lazily<typeof import('prom-client')>('prom-client');

interface RequestCount {
  method: string;
  route: string;
  status: number;
  count: number;
}

export class MetricsPage {
  readonly #service: Service;
  readonly #events: EventStream;
  readonly #clock: Clock;
  #process: Registry | undefined;
  readonly #requests = new Map<string, RequestCount>();

  constructor(service: Service, events: EventStream, clock: Clock) {
    this.#service = service;
    this.#events = events;
    this.#clock = clock;
  }

  get contentType(): string {
    return this.#ofProcess().contentType;
  }

  /** Both come from the route table, so that the number of rows is bounded whatever clients ask for. */
  countRequest(method: string, route: string, status: number): void {
    const key = `${method} ${route} ${status}`;
    const row = this.#requests.get(key);
    if (row === undefined) this.#requests.set(key, { method, route, status, count: 1 });
    else row.count++;
  }

  async render(caller: Caller): Promise<string> {
    const connectors = this.#service.connectors().filter(({ id }) => mayReach(caller, id));
    const sample: Sample = {
      version: this.#service.version,
      nowMs: this.#clock.wallMs(),
      connectors: await Promise.all(connectors.map((connector) => readStatus(connector, this.#clock))),
      inputs: caller.connectors === undefined ? this.#service.inputs() : [],
      requests: [...this.#requests.values()],
      viewerCount: this.#events.viewerCount,
      droppedViewerCount: this.#events.droppedCount,
    };
    const registry = new (prometheus().Registry)();
    for (const metric of METRICS) {
      // The registry only ever asks a metric for its values; prom-client's own classes cannot be set to a count.
      registry.registerMetric(readOnce(metric, sample) as unknown as Parameters<Registry['registerMetric']>[0]);
    }
    // The library writes `Nan`, which the text format does not know.
    const ofProcess = (await this.#ofProcess().metrics()).replaceAll(/ Nan$/gm, ' NaN');
    return (await registry.metrics()) + ofProcess;
  }

  /** Of the process itself: from the first scrape on, it measures garbage collection and delays of its event loop. */
  #ofProcess(): Registry {
    if (this.#process === undefined) {
      const { collectDefaultMetrics, Registry } = prometheus();
      this.#process = new Registry();
      collectDefaultMetrics({ register: this.#process });
    }
    return this.#process;
  }
}

function readOnce(metric: Metric, sample: Sample) {
  const { name, help, type } = metric;
  const values = metric.read(sample).map(({ labels, value, suffix = '' }) => ({
    metricName: name + suffix,
    labels,
    value,
  }));
  return { name, help, type, get: async () => ({ name, help, type, values, aggregator: 'sum' }) };
}

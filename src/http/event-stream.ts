/**
 * Server-sent events: what happens as it happens, and a status snapshot every second while anybody looks.
 *
 * The status is read once a second whatever the number of viewers, and not at all without any. A viewer that does not
 * read is dropped when a bounded backlog is reached; its browser connects again and gets a fresh snapshot, so that
 * nothing needs to be kept for it.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { type Caller, mayReach } from './caller.js';
import { type ConnectorView, readStatus, viewOf } from './connector-view.js';
import { readinessOf } from './readiness.js';
import type { Service, ServiceEvent } from './service.js';

const SNAPSHOT_INTERVAL_MS = 1000;
const RECONNECT_MS = 2000;
/** Unread bytes at which a viewer is dropped. */
export const VIEWER_BACKLOG_MAX_BYTES = 1024 * 1024;
/** Events per connector and second that are told one by one; what is more is only counted. */
const EVENTS_PER_SECOND_MAX = 50;

interface Viewer {
  response: ServerResponse;
  caller: Caller;
}

export class EventStream {
  readonly #service: Service;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #viewers = new Set<Viewer>();
  /** Events of the current second, by connector id. */
  readonly #told = new Map<string, number>();
  #collecting = false;
  #cancelTick: (() => void) | undefined;
  #unsubscribe: (() => void) | undefined;
  #droppedCount = 0;

  constructor(service: Service, clock: Clock, logger: Logger) {
    this.#service = service;
    this.#clock = clock;
    this.#logger = logger;
  }

  get viewerCount(): number {
    return this.#viewers.size;
  }

  /** Viewers that were dropped because they did not read. */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Takes over the connection of the request until the viewer leaves. */
  open(request: FastifyRequest, reply: FastifyReply): void {
    reply.hijack();
    const response = reply.raw;
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) response.setHeader(name, value);
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Proxies such as nginx would hold events back to fill a buffer.
      'x-accel-buffering': 'no',
    });
    response.write(`retry: ${RECONNECT_MS}\n\n`);
    const viewer: Viewer = { response, caller: request.caller };
    this.#viewers.add(viewer);
    response.on('error', () => this.#leave(viewer));
    response.on('close', () => this.#leave(viewer));
    this.#unsubscribe ??= this.#service.onEvent((event) => this.#tell(event));
    if (this.#cancelTick === undefined) this.#scheduleTick();
    void this.#collect([viewer]);
  }

  /** Ends all streams. */
  close(): void {
    for (const viewer of [...this.#viewers]) {
      viewer.response.end();
      this.#leave(viewer);
    }
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.#viewers.size > 0) return;
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#told.clear();
  }

  #scheduleTick(): void {
    this.#cancelTick = this.#clock.schedule(SNAPSHOT_INTERVAL_MS, () => {
      this.#scheduleTick();
      this.#tellSuppressed();
      if (this.#collecting) this.#heartbeat();
      else void this.#collectForAll();
    });
  }

  /** While a status takes long, a comment shows viewers and proxies that the stream lives. */
  #heartbeat(): void {
    for (const viewer of [...this.#viewers]) this.#send(viewer, ': still here\n\n');
  }

  async #collectForAll(): Promise<void> {
    this.#collecting = true;
    await this.#collect(undefined);
    this.#collecting = false;
  }

  async #collect(viewers: readonly Viewer[] | undefined): Promise<void> {
    try {
      await this.#sendSnapshot(viewers);
    } catch (error) {
      this.#logger.error({ err: error }, 'The status for the event stream could not be read.');
    }
  }

  /** Sends a snapshot to these viewers, or to all that are there when it is complete. */
  async #sendSnapshot(viewers: readonly Viewer[] | undefined): Promise<void> {
    const statuses = await Promise.all(
      this.#service.connectors().map((connector) => readStatus(connector, this.#clock)),
    );
    const views = statuses.map(viewOf);
    // Viewers with the same token share one rendering.
    const rendered = new Map<Caller['connectors'], string>();
    for (const viewer of viewers ?? [...this.#viewers]) {
      if (!this.#viewers.has(viewer)) continue;
      let text = rendered.get(viewer.caller.connectors);
      if (text === undefined) {
        text = this.#renderSnapshot(views, viewer.caller);
        rendered.set(viewer.caller.connectors, text);
      }
      this.#send(viewer, text);
    }
  }

  #renderSnapshot(views: readonly ConnectorView[], caller: Caller): string {
    const { ready, reasons } = readinessOf(this.#service, caller);
    return render('status', {
      atMs: this.#clock.wallMs(),
      version: this.#service.version,
      ready,
      reasons,
      connectors: views.filter((view) => mayReach(caller, view.id)),
      // Inputs feed several connectors; a token for some of them is not told about all.
      inputs: caller.connectors === undefined ? this.#service.inputs() : [],
    });
  }

  #tell(event: ServiceEvent): void {
    const { id } = event.data;
    const count = (this.#told.get(id) ?? 0) + 1;
    this.#told.set(id, count);
    if (count > EVENTS_PER_SECOND_MAX) return;
    const text = render(event.name, event.data);
    for (const viewer of [...this.#viewers]) {
      if (mayReach(viewer.caller, id)) this.#send(viewer, text);
    }
  }

  #tellSuppressed(): void {
    for (const [id, count] of this.#told) {
      if (count <= EVENTS_PER_SECOND_MAX) continue;
      const text = render('suppressed', { id, count: count - EVENTS_PER_SECOND_MAX });
      for (const viewer of [...this.#viewers]) {
        if (mayReach(viewer.caller, id)) this.#send(viewer, text);
      }
    }
    this.#told.clear();
  }

  #send(viewer: Viewer, text: string): void {
    const { response } = viewer;
    if (response.writableLength <= VIEWER_BACKLOG_MAX_BYTES) {
      response.write(text);
      return;
    }
    this.#droppedCount++;
    this.#leave(viewer);
    response.destroy();
  }
}

function render(name: string, data: object): string {
  // JSON has no line breaks outside of strings, where they are escaped: one `data` line is always enough.
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

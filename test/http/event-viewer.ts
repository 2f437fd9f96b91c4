/** A viewer of the event stream, as a browser would be one. */
import { connect, type Socket } from 'node:net';
import { eventually } from '../kit/deadline.js';

export interface SeenEvent {
  name: string;
  data: Record<string, unknown>;
}

export class EventViewer {
  readonly events: SeenEvent[] = [];
  closed = false;
  head = '';
  readonly socket: Socket;
  #rest = '';

  constructor(url: string, headers: Record<string, string> = {}) {
    const { hostname, port, host } = new URL(url);
    this.socket = connect(Number(port), hostname, () => {
      const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
      this.socket.write(`GET /api/events HTTP/1.1\r\n${lines.join('')}\r\n`);
    });
    this.socket.setEncoding('utf8');
    this.socket.on('data', (text: string) => this.#take(text));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  named(name: string): SeenEvent[] {
    return this.events.filter((event) => event.name === name);
  }

  /** Waits until so many events of this name have been seen, and gives the last. */
  async until(name: string, count = 1): Promise<Record<string, unknown>> {
    await eventually(
      () => this.named(name).length >= count,
      () => `${count} events "${name}"; seen: ${this.events.map((event) => event.name).join(', ') || this.head}`,
    );
    return this.named(name).at(-1)!.data;
  }

  close(): void {
    this.socket.destroy();
  }

  #take(text: string): void {
    this.#rest += text;
    if (this.head === '') {
      const end = this.#rest.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.head = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + 4);
    }
    // The chunks of the transfer coding are taken out where they stand between lines: each event is one write.
    const blocks = this.#rest.replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/g, '').split('\n\n');
    if (!this.#rest.endsWith('\n\n\r\n')) return;
    this.#rest = '';
    for (const block of blocks) {
      const name = /^event: (.+)$/m.exec(block)?.[1];
      const data = /^data: (.+)$/m.exec(block)?.[1];
      if (name !== undefined && data !== undefined) this.events.push({ name, data: JSON.parse(data) });
    }
  }
}

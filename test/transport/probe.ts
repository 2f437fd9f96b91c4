/** A transport under observation, and what MQTT needs to be seen to work over it. */
import { generate } from 'mqtt-packet';
import type { NorthError } from '../../src/core/error.js';
import {
  type OpenedInfo,
  openTransport,
  type Transport,
  type TransportOptions,
} from '../../src/transport/transport.js';
import { eventually } from '../kit/deadline.js';

export interface Probe {
  transport: Transport;
  /** The names of all events, in their order. */
  events: string[];
  received: Buffer[];
  info: OpenedInfo | undefined;
  error: NorthError | undefined;
  opened(): Promise<OpenedInfo>;
  /** Waits for `closed` and gives its error. */
  closed(): Promise<NorthError | undefined>;
  /** Waits until so many bytes have come, and gives all of them. */
  bytes(sizeBytes: number): Promise<Buffer>;
}

export type ProbeOptions = Partial<TransportOptions> & { port: number };

/** Dials 127.0.0.1 in plain TCP unless told otherwise. */
export function probe(options: ProbeOptions, onEvent: (name: string, probe: Probe) => void = () => undefined): Probe {
  const events: string[] = [];
  const received: Buffer[] = [];
  const note = (name: string) => {
    events.push(name);
    onEvent(name, self);
  };
  const transport = openTransport(
    {
      secure: false,
      websocket: false,
      host: '127.0.0.1',
      path: '/mqtt',
      connectTimeoutMs: 10_000,
      rejectUnauthorized: true,
      ...options,
    },
    {
      opened(info) {
        self.info = info;
        note('opened');
      },
      received(bytes) {
        received.push(bytes);
        note('received');
      },
      drained: () => note('drained'),
      closed(error) {
        self.error = error;
        note('closed');
      },
    },
  );
  const saw = (name: string) => () => events.includes(name);
  const failure = () => (self.error === undefined ? '' : ` It closed with ${self.error.code}: ${self.error.message}`);
  const self: Probe = {
    transport,
    events,
    received,
    info: undefined,
    error: undefined,
    async opened() {
      await eventually(() => saw('opened')() || saw('closed')(), 'the transport to open');
      if (self.info === undefined) throw new Error(`The transport did not open.${failure()}`);
      return self.info;
    },
    async closed() {
      await eventually(saw('closed'), () => `the transport to close; its events: ${events.join(', ')}`);
      return self.error;
    },
    async bytes(sizeBytes) {
      const size = () => received.reduce((sum, each) => sum + each.length, 0);
      await eventually(
        () => size() >= sizeBytes,
        () => `${sizeBytes} bytes; there are ${size()}.${failure()}`,
      );
      return Buffer.concat(received);
    },
  };
  return self;
}

export const CONNECT = generate({ cmd: 'connect', clientId: 'transport-test', protocolVersion: 4, clean: true });
export const CONNACK = Buffer.from([0x20, 0x02, 0x00, 0x00]);
export const DISCONNECT = generate({ cmd: 'disconnect' });

/** A dial that is expected to fail. */
export async function failureOf(options: ProbeOptions): Promise<NorthError> {
  const attempt = probe(options);
  const error = await attempt.closed();
  if (attempt.events.join() !== 'closed') throw new Error(`Expected closed alone, got: ${attempt.events.join(', ')}`);
  if (error === undefined) throw new Error('It closed without an error');
  return error;
}

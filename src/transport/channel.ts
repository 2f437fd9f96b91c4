/** The bytes of an open connection, whatever it is made of. One call more than the socket itself, and no more. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { NorthError } from '../core/error.js';

/**
 * What may wait in this process for the socket before the writer is asked to wait. Node.js asks from 16 KiB on, which
 * a single batch exceeds; what the kernel takes at once never waits here.
 */
const WAITING_MAX_BYTES = 128 * 1024;

export interface Channel {
  /** False: wait for `drained`. The bytes are not copied and must not change. */
  write(bytes: Uint8Array): boolean;
  /** Says farewell after what was written; `flushed` is called when the operating system has taken it all. */
  end(flushed: () => void): void;
  destroy(): void;
  readonly bufferedSizeBytes: number;
}

export interface ChannelEvents {
  received(bytes: Buffer): void;
  drained(): void;
  /** The other side has closed in an orderly way; nothing more comes. */
  ended(reason: string): void;
  failed(error: unknown): void;
}

/** Over TCP or TLS. */
export function streamChannel(socket: Socket, events: ChannelEvents): Channel {
  socket.on('data', events.received);
  socket.on('drain', events.drained);
  socket.on('end', () => events.ended(''));
  socket.on('error', events.failed);
  socket.on('close', () => events.ended(''));
  return {
    write(bytes) {
      socket.write(bytes);
      return socket.writableLength < WAITING_MAX_BYTES;
    },
    end: (flushed) => void socket.end(flushed),
    destroy: () => void socket.destroy(),
    get bufferedSizeBytes() {
      return socket.writableLength;
    },
  };
}

const NORMAL_CLOSURE = 1000;
const NO_STATUS = 1005;
const ABNORMAL_CLOSURE = 1006;

/** Over a websocket; where one frame ends and the next begins means nothing [MQTT-6.0.0-2]. */
export function webSocketChannel(websocket: WebSocket, socket: Socket, events: ChannelEvents): Channel {
  websocket.on('message', (data, isBinary) => {
    if (!isBinary) {
      const text = 'The broker sent text through the websocket; MQTT consists of binary frames [MQTT-6.0.0-1].';
      events.failed(new NorthError('BROKER_PROTOCOL', text));
      return;
    }
    // With the default binary type of `nodebuffer` it is always one Buffer.
    events.received(data as Buffer);
  });
  websocket.on('error', events.failed);
  websocket.on('close', (code, reason) => {
    const isTold = code !== NORMAL_CLOSURE && code !== NO_STATUS && code !== ABNORMAL_CLOSURE;
    events.ended([isTold ? `code ${code}` : '', reason.toString()].filter((text) => text !== '').join(': '));
  });
  // The websocket hides the error of its socket behind a close code that says less.
  socket.on('error', events.failed);
  socket.on('drain', events.drained);
  return {
    write(bytes) {
      // The frame is masked into a buffer of its own, so that the caller's bytes stay as they are.
      websocket.send(bytes);
      return socket.writableLength < WAITING_MAX_BYTES;
    },
    end(flushed) {
      websocket.close(NORMAL_CLOSURE);
      socket.write(NOTHING, (error) => {
        if (error === null || error === undefined) flushed();
      });
    },
    destroy() {
      websocket.terminate();
      socket.destroy();
    },
    get bufferedSizeBytes() {
      return socket.writableLength;
    },
  };
}

const NOTHING = new Uint8Array(0);

/**
 * One keep-alive connection for prepared requests, over a bare socket: Node's own client costs more per request than
 * what is measured here, and would be the limit itself.
 */
import { connect, type Socket } from 'node:net';

const READ_SIZE_BYTES = 64 * 1024;
const HEADER_END = Buffer.from('\r\n\r\n');
const STATUS_AT = 'HTTP/1.1 '.length;

export class HttpConnection {
  readonly #socket: Socket;
  #answered: ((error?: Error) => void) | undefined;
  #failure: Error | undefined;
  #rest: Buffer | undefined;

  private constructor(port: number) {
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      // One buffer for all reads; an answer is looked at before the next read.
      onread: {
        buffer: Buffer.allocUnsafe(READ_SIZE_BYTES),
        callback: (sizeBytes, buffer) => {
          this.#read(Buffer.from(buffer.buffer, buffer.byteOffset, sizeBytes));
          return true;
        },
      },
    });
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('The service closed the connection.')));
  }

  static open(port: number): Promise<HttpConnection> {
    const connection = new HttpConnection(port);
    return new Promise((resolve, reject) => {
      connection.#socket.once('connect', () => resolve(connection));
      connection.#socket.once('error', reject);
    });
  }

  /** Sends a whole request, with its header; calls back when it was answered with 202, and with an error otherwise. */
  send(request: Buffer, answered: (error?: Error) => void): void {
    if (this.#failure !== undefined) {
      answered(this.#failure);
      return;
    }
    this.#answered = answered;
    this.#socket.write(request);
  }

  close(): void {
    this.#failure = new Error('The connection is closed.');
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    const headerEnd = bytes.indexOf(HEADER_END);
    const header = headerEnd < 0 ? '' : bytes.toString('latin1', 0, headerEnd);
    const found = /content-length: (\d+)/i.exec(header);
    if (headerEnd >= 0 && found === null) {
      this.#fail(new Error(`An answer without length: ${header}`));
      return;
    }
    const sizeBytes = headerEnd + HEADER_END.length + Number(found?.[1]);
    if (headerEnd < 0 || bytes.length < sizeBytes) {
      // The buffer of the socket is used again for the next read.
      this.#rest = Buffer.from(bytes);
      return;
    }
    const status = header.slice(STATUS_AT, STATUS_AT + 3);
    if (status === '202') this.#settle();
    else this.#settle(new Error(`The service answered ${bytes.toString('utf8', STATUS_AT)}`));
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#settle(error);
  }

  #settle(error?: Error): void {
    const answered = this.#answered;
    this.#answered = undefined;
    answered?.(error);
  }
}

/** A request with its header, as the connection sends it. */
export function encodeRequest(path: string, body: Buffer, token?: string): Buffer {
  const lines = [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]);
}

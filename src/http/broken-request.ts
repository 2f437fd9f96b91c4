/** The answer to what is no valid HTTP request: there is no request object yet, or only half of one. */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemCode } from '../core/error.js';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';

/**
 * Answers broken requests, each in its turn. An answer that is written past the others on the same connection would
 * stand in the middle of one of them, or tell a client that its request was refused although it was accepted.
 */
export class BrokenRequests {
  readonly #turns = new WeakMap<Socket, { last: ServerResponse; pending: Set<ServerResponse> }>();

  /** To be called for every request that begins. */
  begun(response: ServerResponse): void {
    const { socket } = response;
    if (socket === null) return;
    const pending = this.#turns.get(socket)?.pending ?? new Set();
    pending.add(response);
    this.#turns.set(socket, { last: response, pending });
    response.once('close', () => pending.delete(response));
  }

  /** The connection is of no use any more, and ends with an answer where one can be given. */
  answer(error: Error, socket: Socket): void {
    const code = systemCode(error);
    if (code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
      socket.destroy();
      return;
    }
    const turn = this.#turns.get(socket);
    // What is broken belongs to the last request while that is not complete.
    const own = turn?.last.req.complete === false ? turn.last : undefined;
    const others = [...(turn?.pending ?? [])].filter((response) => response !== own);
    if (own?.headersSent === true || others.some(({ headersSent }) => headersSent)) socket.destroySoon();
    else if (others.length > 0) others.at(-1)!.once('close', () => socket.destroySoon());
    else refuse(socket, explain(code));
  }
}

/** Answers CONNECT, which Node would meet by closing the connection without a word. */
export function refuseTunnel(socket: Duplex): void {
  // The client may be gone already.
  socket.on('error', () => undefined);
  refuse(socket, { status: 400, errorCode: 'REQUEST_INVALID', message: 'This server is no proxy.' });
}

interface Refusal {
  status: number;
  errorCode: ErrorCode;
  message: string;
}

function refuse(socket: Duplex, { status, errorCode, message }: Refusal): void {
  const body = JSON.stringify({ code: errorCode, message, remedy: ERRORS[errorCode].remedy });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
      'content-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  // Nobody reads from it any more, so that its end would not be seen, and the server could not close: what still comes is
  // thrown away until the client has gone, or has had its time.
  socket.resume();
  if (socket instanceof Socket) socket.setTimeout(LINGER_MS, () => socket.destroy());
}

/** How long a client that was refused may keep its connection. */
const LINGER_MS = 2000;

function explain(code: string | undefined): Refusal {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { status: 431, errorCode: 'REQUEST_INVALID', message: 'The header of the request is too large.' };
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { status: 408, errorCode: 'REQUEST_TIMEOUT', message: ERRORS.REQUEST_TIMEOUT.meaning };
  }
  return { status: 400, errorCode: 'REQUEST_INVALID', message: 'This is not a valid HTTP request.' };
}

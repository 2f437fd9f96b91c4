/** The answer to what is no valid HTTP request: there is no request object yet, only a socket. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { systemCode } from '../core/error.js';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';

export function answerBrokenRequest(error: Error, socket: Socket): void {
  const code = systemCode(error);
  if (code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, errorCode, message } = explain(code);
  const body = JSON.stringify({ code: errorCode, message, remedy: ERRORS[errorCode].remedy });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
      'content-type: application/json; charset=utf-8\r\n' +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function explain(code: string | undefined): { status: number; errorCode: ErrorCode; message: string } {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { status: 431, errorCode: 'REQUEST_INVALID', message: 'The header of the request is too large.' };
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { status: 408, errorCode: 'REQUEST_TIMEOUT', message: ERRORS.REQUEST_TIMEOUT.meaning };
  }
  return { status: 400, errorCode: 'REQUEST_INVALID', message: 'This is not a valid HTTP request.' };
}

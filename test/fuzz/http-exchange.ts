/** Bytes to a server and everything that comes back, read with no more mercy than a strict client has. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';

export interface Answer {
  status: number;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  body: Buffer;
}

/** Longest wait for the end of a connection whose client has said all. */
const EXCHANGE_MAX_MS = 15_000;

/** A server that is silent for so long may wait for more of the request, and is told that there is no more. */
const SILENCE_MS = 100;

export interface ExchangeOptions {
  silenceMs?: number;
  /** So long after all is sent, the client is gone, whatever the server is at; it gets no answer then. */
  leavesAfterMs?: number | undefined;
}

/**
 * Sends the pieces one after the other and resolves with the bytes of the answers when the server has closed. An event
 * stream, which has no end, is cut. `isImpatient`: we closed first, and may have missed an answer that was on its way.
 */
export function exchange(
  port: number,
  pieces: readonly Buffer[],
  { silenceMs = SILENCE_MS, leavesAfterMs }: ExchangeOptions = {},
): Promise<{ bytes: Buffer; isImpatient: boolean }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => sendFrom(0));
    const timer = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`The connection was not closed. So far: ${Buffer.concat(chunks).toString('latin1').slice(0, 500)}`),
      );
    }, EXCHANGE_MAX_MS);
    let isImpatient = false;
    let silence: NodeJS.Timeout | undefined;
    const sendFrom = (at: number): void => {
      const piece = pieces[at];
      if (piece === undefined && leavesAfterMs !== undefined) {
        silence = setTimeout(() => {
          isImpatient = true;
          chunks.length = 0;
          socket.resetAndDestroy();
        }, leavesAfterMs);
      } else if (piece === undefined) {
        silence = setTimeout(() => {
          isImpatient = true;
          socket.end();
        }, silenceMs);
      }
      // The next one leaves when this one is gone, so that they do not arrive as one.
      else socket.write(piece, () => setImmediate(() => sendFrom(at + 1)));
    };
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (leavesAfterMs === undefined) silence?.refresh();
      if (chunk.includes('text/event-stream')) socket.destroy();
    });
    // A server may close while the client still sends; what it said before that counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      clearTimeout(silence);
      resolve({ bytes: Buffer.concat(chunks), isImpatient });
    });
  });
}

/** The answers in the bytes, one after the other. Fails for bytes that are none. */
export function readAnswers(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const headEnd = bytes.indexOf('\r\n\r\n', at);
    assert.ok(
      headEnd >= 0,
      `an answer without an end of its header: ${bytes.subarray(at, at + 200).toString('latin1')}`,
    );
    const [statusLine = '', ...lines] = bytes.subarray(at, headEnd).toString('latin1').split('\r\n');
    const match = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine);
    assert.ok(match !== null, `no status line: ${statusLine.slice(0, 200)}`);
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      assert.ok(colon > 0 && !/[\r\n\0]/.test(line), `no header: ${line.slice(0, 200)}`);
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const status = Number(match[1]);
    const { body, end } = readBody(bytes, headEnd + 4, status, headers);
    at = end;
    if (status >= 200) answers.push({ status, headers, body });
  }
  return answers;
}

function readBody(
  bytes: Buffer,
  start: number,
  status: number,
  headers: Readonly<Record<string, string>>,
): { body: Buffer; end: number } {
  if (status < 200 || status === 204 || status === 304) return { body: Buffer.alloc(0), end: start };
  if (headers['transfer-encoding'] === 'chunked') return readChunked(bytes, start);
  // The answer to HEAD has the length of a body that does not come.
  const size = headers['content-length'] === undefined ? bytes.length - start : Number(headers['content-length']);
  const isHead = bytes.length === start || bytes.subarray(start, start + 9).toString('latin1') === 'HTTP/1.1 ';
  if (isHead) return { body: Buffer.alloc(0), end: start };
  assert.ok(
    start + size <= bytes.length || headers['content-type']?.startsWith('text/event-stream') === true,
    'a body is cut off',
  );
  return { body: bytes.subarray(start, start + size), end: start + size };
}

function readChunked(bytes: Buffer, start: number): { body: Buffer; end: number } {
  const parts: Buffer[] = [];
  let at = start;
  // The answer to HEAD has none of the chunks that it announces.
  while (at < bytes.length) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16);
    assert.ok(lineEnd > 0 && Number.isInteger(size), 'a chunk without a size');
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
    if (size === 0) break;
  }
  return { body: Buffer.concat(parts), end: Math.min(at, bytes.length) };
}

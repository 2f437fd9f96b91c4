/** HTTP over a bare socket, for what a well-behaved client refuses to send. */
import { connect } from 'node:net';
import { within } from '../kit/deadline.js';

export interface RawAnswer {
  status: number;
  text: string;
}

/** Sends the bytes as they are and resolves with everything that came back until the server closed the connection. */
export function sendRaw(url: string, bytes: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const answer = new Promise<RawAnswer>((resolve, reject) => {
    let text = '';
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0), text }));
  });
  return within(answer, 'the server to answer and close the connection', 20_000);
}

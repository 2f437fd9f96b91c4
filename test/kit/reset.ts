import type { Socket } from 'node:net';

/**
 * Resets a connection, as a router does that has lost its table.
 *
 * A socket that is just sending its FIN is destroyed instead: Node.js 20 does not close it when it is told to reset it,
 * and a process with such a socket never comes to its end.
 */
export function resetConnection(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

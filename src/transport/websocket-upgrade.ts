/** A websocket over a connection that exists, as MQTT uses it [MQTT-6.0.0]: subprotocol `mqtt`, binary frames. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { lazily } from '../core/lazily.js';
import { addressText } from './connection-error.js';

const wsPackage = lazily<typeof import('ws')>('ws');

export interface WebSocketOptions {
  secure: boolean;
  host: string;
  port: number;
  /** With its query; begins with a slash. */
  path: string;
}

export interface WebSocketEvents {
  upgraded(websocket: WebSocket): void;
  failed(error: NorthError): void;
}

/** Frames from a broker to a publisher hold acknowledgements; a larger one is an attack or no broker. */
const FRAME_SIZE_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Gives exactly one of `upgraded` and `failed`, never before it has returned. The returned function gives the upgrade
 * up and prevents both. After a failure or giving up, the socket is closed. Throws WEBSOCKET_REFUSED when host and path make no
 * URL; the socket is then still open.
 */
export function upgradeToWebSocket(socket: Socket, options: WebSocketOptions, events: WebSocketEvents): () => void {
  const { secure, host, port, path } = options;
  // A zone names an interface of this machine and means nothing to the server.
  const authority = addressText(host.replace(/%.*$/, ''), port);
  let isOver = false;
  const end = (): boolean => {
    if (isOver) return false;
    isOver = true;
    socket.off('close', closed);
    return true;
  };
  const giveUp = () => {
    websocket.terminate();
    socket.destroy();
  };
  const fail = (error: NorthError) => {
    if (!end()) return;
    giveUp();
    events.failed(error);
  };
  const closed = () => fail(closedInUpgrade());
  const websocket = newWebSocket(`${secure ? 'wss' : 'ws'}://${authority}${path}`, socket);
  // These stay on the sockets: an error that comes when nobody listens any more would end the process.
  websocket.on('error', (error) => fail(upgradeError(error, path)));
  socket.on('error', (error) => fail(upgradeError(error, path)));
  socket.on('close', closed);
  websocket.on('unexpected-response', (_, { statusCode = 0, statusMessage = '' }) => {
    const status = `${statusCode} ${statusMessage}`.trim();
    const remedy =
      statusCode === 401 || statusCode === 403
        ? 'Check whether a proxy on the way wants a login, and the path in url.'
        : 'Check the path in url; many brokers use /mqtt.';
    fail(refused(`the server answered "${status}" at ${path}`, remedy));
  });
  websocket.once('open', () => {
    if (!end()) return;
    events.upgraded(websocket);
  });
  return () => {
    if (end()) giveUp();
  };
}

function newWebSocket(url: string, socket: Socket): WebSocket {
  try {
    return new (wsPackage().WebSocket)(url, ['mqtt'], {
      createConnection: () => socket,
      perMessageDeflate: false,
      followRedirects: false,
      maxPayload: FRAME_SIZE_MAX_BYTES,
    });
  } catch (error) {
    throw refused(`url cannot be used for it (${errorText(error)})`, 'Check host and path in url.', error);
  }
}

function upgradeError(error: unknown, path: string): NorthError {
  const code = systemCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return closedInUpgrade(error);
  if (code?.startsWith('HPE_') === true) {
    const remedy = 'Check the port in url; for a port without websockets the scheme is mqtt or mqtts.';
    return refused('what answers does not speak HTTP', remedy, error);
  }
  const text = errorText(error);
  if (text.includes('subprotocol')) {
    const remedy = 'Check the path in url: something else than a broker may listen there.';
    return refused(`the server at ${path} does not offer the subprotocol mqtt`, remedy, error);
  }
  return refused(`${text} at ${path}`, undefined, error);
}

function refused(text: string, remedy?: string, cause?: unknown): NorthError {
  return new NorthError('WEBSOCKET_REFUSED', `The websocket was refused: ${text}.`, {
    cause,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

function closedInUpgrade(cause?: unknown): NorthError {
  return new NorthError('BROKER_CLOSED', 'The server closed the connection instead of opening the websocket.', {
    cause,
    remedy: 'Check that the port in url takes websockets, without TLS for ws and with TLS for wss.',
  });
}

/** How a session reaches the world, and what it tells of itself. */
import type { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';
import type { ConnackGrant } from '../wire/control-packets.js';
import type { SessionSave } from './saving.js';
import type { SessionState } from './state.js';

export interface SessionPort {
  /** Gives false when the socket has enough; `drained` tells when it wants more. */
  write(bytes: Uint8Array): boolean;
  /** Ends the connection: after what was written when `graceful`, at once otherwise. `disconnected` follows. */
  close(graceful: boolean): void;
  /** Asks for a call of `tick` at this monotonic time; undefined cancels. */
  wakeAt(timeMs: number | undefined): void;
  /** Asks for waiting batches; answered by `supply`. */
  read(lane: Lane, fromOffset: number, sizeBytesMax: number): void;
  /** Answered by `saved`. */
  save(save: SessionSave): void;
  report(event: SessionEvent): void;
}

export type SessionEvent =
  | { kind: 'state'; state: SessionState }
  /** With `isInDoubt`, the session is a new one, and something that was sent in another one is not done. */
  | { kind: 'granted'; grant: ConnackGrant; protocolVersion: 4 | 5; isSessionLost: boolean; isInDoubt: boolean }
  /**
   * The connection ended or never came to be; `error` is undefined when we ended it on purpose. With `redialsAtOnce` the
   * next one belongs to the same attempt.
   */
  | { kind: 'ended'; error: NorthError | undefined; redialsAtOnce: boolean }
  | { kind: 'quarantined'; lane: Lane; offset: number; code: ErrorCode; reason: string }
  | { kind: 'topicPaused'; topic: string; reason: string }
  /** So many messages had expired before they could be sent, and were dropped. */
  | { kind: 'expired'; count: number }
  | { kind: 'downgraded' }
  /** The broker closes the connection at every message of QoS 2, and has never taken one. */
  | { kind: 'qos2Refused' }
  | { kind: 'narrowed'; window: number };

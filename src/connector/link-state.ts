/** Where a link stands, with what a reader of it needs. */
import type { NorthError } from '../core/error.js';
import type { OpenedInfo } from '../transport/transport.js';
import type { ConnackGrant } from '../wire/control-packets.js';
import type { Attempt } from './reconnect.js';

export type LinkState =
  | { name: 'stopped' }
  | { name: 'dialing' | 'handshaking' | 'recovering' | 'online' | 'draining'; broker: string }
  /** `nextAtMs` of the monotonic clock. */
  | { name: 'waiting'; broker: string; error: NorthError; nextAtMs: number };

export interface ConnectionGrant {
  grant: ConnackGrant;
  protocolVersion: 4 | 5;
  /** The broker has no session for us although we remember one. */
  isSessionLost: boolean;
  /** The session is a new one, and something that was sent in another one is not done. */
  isInDoubt: boolean;
  attempt: Attempt;
  opened: OpenedInfo | undefined;
}

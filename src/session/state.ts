/** The states of a session and the ways between them. A way that is not in the table is a fault of ours and throws. */
export type SessionState = 'offline' | 'handshaking' | 'recovering' | 'online' | 'draining' | 'closing';

const WAYS: Readonly<Record<SessionState, readonly SessionState[]>> = {
  offline: ['handshaking'],
  handshaking: ['recovering', 'closing', 'offline'],
  // Recovering lasts until everything that may have been sent before has been sent again.
  recovering: ['online', 'draining', 'closing', 'offline'],
  online: ['draining', 'closing', 'offline'],
  draining: ['closing', 'offline'],
  // The connection is being ended by us; what still arrives is ignored.
  closing: ['offline'],
};

export function assertWay(from: SessionState, to: SessionState): void {
  if (!WAYS[from].includes(to)) throw new Error(`A session cannot go from ${from} to ${to}.`);
}

/** The parts of a session, and how they are joined. */
import { Acknowledgements } from './acknowledgement.js';
import { Experience } from './experience.js';
import type { HandshakeOptions } from './handshake.js';
import { Ledger, type StoredSession } from './ledger.js';
import { Liveness } from './liveness.js';
import { PausedTopics } from './paused-topics.js';
import type { SessionPort } from './port.js';
import { RateLimit } from './rate-limit.js';
import { Sender } from './sender.js';

export interface SessionOptions extends HandshakeOptions {
  /** Longest time for an acknowledgement, and for the socket to take bytes. */
  ackTimeoutMs: number;
  messagesPerSecond: number;
  bytesPerSecond: number;
  /** 0: messages do not age. */
  maxAgeMs: number;
  /** So much of each lane is read at once, when less than half of it is left. */
  readAheadBytes: number;
}

export interface SessionParts {
  readonly ledger: Ledger;
  readonly pausedTopics: PausedTopics;
  readonly sender: Sender;
  readonly acknowledgements: Acknowledgements;
  readonly liveness: Liveness;
  readonly experience: Experience;
}

export function sessionParts(options: SessionOptions, stored: StoredSession, port: SessionPort): SessionParts {
  const ledger = new Ledger(stored, (save) => port.save(save));
  const pausedTopics = new PausedTopics();
  const sender = new Sender({
    ledger,
    port,
    rateLimit: new RateLimit(options.messagesPerSecond, options.bytesPerSecond),
    maxAgeMs: options.maxAgeMs,
    readAheadBytes: options.readAheadBytes,
    refuse: (id, cursor, reason) => ledger.condemn(id, cursor.next - 1, reason, false),
    pausedTopics,
  });
  const acknowledgements = new Acknowledgements(ledger, sender, pausedTopics, {
    downgraded: () => port.report({ kind: 'downgraded' }),
    topicPaused: (topic, reason) => port.report({ kind: 'topicPaused', topic, reason }),
  });
  const liveness = new Liveness(options.ackTimeoutMs);
  const experience = new Experience({
    ledger,
    resend: sender.resend,
    liveness,
    acknowledgements,
    ackTimeoutMs: options.ackTimeoutMs,
    narrowed: (window) => port.report({ kind: 'narrowed', window }),
    qos2Refused: () => port.report({ kind: 'qos2Refused' }),
  });
  return { ledger, pausedTopics, sender, acknowledgements, liveness, experience };
}

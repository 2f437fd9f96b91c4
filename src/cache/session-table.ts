/** Whose session the progress is, and the runs of messages that the broker has taken but not yet released. */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { NorthError } from '../core/error.js';
import { type Lane, laneAt, laneIndex } from '../core/lane.js';
import type { OffsetRange } from '../core/message.js';
import type { SessionIdentity } from './store.js';

export type ReceivedRun = OffsetRange & { lane: Lane };

export interface SessionRow {
  broker: string | null;
  client_id: string | null;
  received: string;
  checksum: number;
}

export interface StoredSession {
  identity: SessionIdentity | undefined;
  received: readonly ReceivedRun[];
}

export class SessionTable implements StoredSession {
  identity: SessionIdentity | undefined;
  received: readonly ReceivedRun[] = [];
  #receivedText = '[]';
  readonly #select: Database.Statement<[], SessionRow>;
  readonly #replace: Database.Statement<[string | null, string | null, string, number]>;

  constructor(db: Database.Database) {
    this.#select = db.prepare('SELECT broker, client_id, received, checksum FROM session WHERE id = 1');
    this.#replace = db.prepare(
      'INSERT OR REPLACE INTO session (id, broker, client_id, received, checksum) VALUES (1, ?, ?, ?, ?)',
    );
  }

  /** Throws CACHE_DAMAGED when the row is missing or its checksum is wrong. */
  load(): void {
    const row = this.#select.get();
    const read = readSession(row);
    if (row === undefined || read === undefined) {
      throw new NorthError('CACHE_DAMAGED', 'The state of the MQTT session cannot be read.');
    }
    this.identity = read.identity;
    this.received = read.received;
    this.#receivedText = row.received;
  }

  snapshot(): StoredSession {
    return { identity: this.identity, received: this.received };
  }

  restore(snapshot: StoredSession): void {
    this.identity = snapshot.identity;
    this.received = snapshot.received;
    this.#receivedText = receivedText(snapshot.received);
  }

  /** Stores both when either changed. */
  save(identity: SessionIdentity | undefined, received: readonly ReceivedRun[]): void {
    const text = receivedText(received);
    const isSame =
      identity === this.identity ||
      (identity?.broker === this.identity?.broker && identity?.clientId === this.identity?.clientId);
    if (isSame && text === this.#receivedText) return;
    this.write(identity, text);
    this.identity = identity === undefined ? undefined : { broker: identity.broker, clientId: identity.clientId };
    this.#receivedText = text;
    this.received = received.map(({ lane, from, to }) => ({ lane, from, to }));
  }

  write(identity: SessionIdentity | undefined, received: string): void {
    const row: SessionRow = {
      broker: identity?.broker ?? null,
      client_id: identity?.clientId ?? null,
      received,
      checksum: 0,
    };
    this.#replace.run(row.broker, row.client_id, received, sessionChecksum(row));
  }
}

/** The session of a row, or undefined when the row is missing or damaged. */
export function readSession(row: SessionRow | undefined): StoredSession | undefined {
  if (row === undefined || row.checksum !== sessionChecksum(row)) return undefined;
  const runs = JSON.parse(row.received) as [lane: number, from: number, to: number][];
  return {
    identity:
      row.broker === null || row.client_id === null ? undefined : { broker: row.broker, clientId: row.client_id },
    received: runs.map(([lane, from, to]) => ({ lane: laneAt(lane), from, to })),
  };
}

/** Runs as they are stored, in the order of their PUBRECs: `[[2,5,7],[0,1,2]]`. */
export function receivedText(runs: readonly ReceivedRun[]): string {
  let text = '[';
  for (const run of runs) text += `${text.length > 1 ? ',' : ''}[${laneIndex(run.lane)},${run.from},${run.to}]`;
  return `${text}]`;
}

function sessionChecksum(row: SessionRow): number {
  return crc32(JSON.stringify([row.broker, row.client_id, row.received]));
}

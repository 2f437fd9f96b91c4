/** Counts since the process started, per lane. What the session counts is added when it is asked for. */
import type { AppendReply, AppendRequest } from '../cache/store.js';
import { LANES, type Lane } from '../core/lane.js';
import type { Session } from '../session/session.js';
import type { LaneCounts } from './connector.js';
import type { Digest } from './digest.js';

export class Counters {
  readonly #accepted: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  readonly #quarantined: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
  #dropped = 0;
  readonly #quarantineLog: Digest;
  readonly #dropLog: Digest;

  constructor(quarantineLog: Digest, dropLog: Digest) {
    this.#quarantineLog = quarantineLog;
    this.#dropLog = dropLog;
  }

  appended(request: Omit<AppendRequest, 'kind'>, reply: AppendReply): void {
    for (const batch of request.batches) this.#accepted[batch.lane] += batch.count;
    for (const draft of request.quarantined) {
      this.#accepted[draft.lane]++;
      this.#quarantined[draft.lane]++;
      this.#quarantineLog.note(draft.code, draft.reason);
    }
    // Only telemetry is ever dropped to make room.
    this.#dropped += reply.droppedCount;
    if (reply.droppedCount > 0) {
      this.#dropLog.note('CACHE_FULL', 'The oldest telemetry gave way: the cache is full.', reply.droppedCount);
    }
  }

  quarantined(lane: Lane): void {
    this.#quarantined[lane]++;
  }

  read(session: Session): Record<Lane, LaneCounts> {
    const counts = {} as Record<Lane, LaneCounts>;
    for (const lane of LANES) {
      const { published, dropped, possibleDuplicates, noSubscribers } = session.countsOf(lane);
      counts[lane] = {
        accepted: this.#accepted[lane],
        published,
        quarantined: this.#quarantined[lane],
        dropped: dropped + (lane === 'telemetry' ? this.#dropped : 0),
        possibleDuplicates,
        noSubscribers,
      };
    }
    return counts;
  }
}

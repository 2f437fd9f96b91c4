/**
 * When what has changed is stored, one save at a time; what comes meanwhile goes with the next.
 *
 * Two kinds of change are stored at different speeds. A PUBREC, a move to quarantine and the identity of a new session are
 * stored at once, in groups: their consequences may only happen afterwards. A settlement may lag, because losing it costs
 * one repeated PUBLISH at QoS 1 or one repeated PUBREL at QoS 2; it goes along with the next commit, at the latest after
 * `LAZY_SAVE_MS` or when as many settlements wait as two windows hold. That keeps the duplicates after a crash near the
 * in-flight window.
 */
import type { Lane } from '../core/lane.js';
import type { MessageOffset } from '../core/message.js';
import type { QuarantineReason, SessionIdentity, SessionProgress } from '../core/progress.js';

export const LAZY_SAVE_MS = 100;

/** After a failed save; trying again at once would only spin while the disk is full. */
const SAVE_RETRY_MS = 1000;

/** What is stored in one transaction; with an `identity` the session is that one's from now on, and null forgets it. */
export interface SessionSave {
  progress: SessionProgress;
  quarantine: readonly (MessageOffset & QuarantineReason)[];
  identity?: SessionIdentity | null;
}

export interface Condemned extends QuarantineReason {
  id: number;
  lane: Lane;
  offset: number;
}

/** What one save stores besides the progress: identifiers whose PUBREC has come, and what goes to quarantine. */
interface Changes {
  received: number[];
  condemned: Condemned[];
  /** Undefined: whose session it is stays as it is. */
  identity: SessionIdentity | null | undefined;
}

export type SavedChanges = Readonly<Changes> & { progress: SessionProgress };

export class Saving {
  /** Whose session is stored. */
  identity: SessionIdentity | undefined;
  /** So many settlements may lag behind before they are stored. */
  lazyCountMax = 256;
  readonly #save: (save: SessionSave) => void;
  /** For the next save. */
  #queued = noChanges();
  #underWay: SavedChanges | undefined;
  #isUrgent = false;
  #lazySinceMs: number | undefined;
  #lazyCount = 0;
  #retryAtMs = 0;

  constructor(identity: SessionIdentity | undefined, save: (save: SessionSave) => void) {
    this.identity = identity;
    this.#save = save;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** True when there is anything that is not stored yet. */
  get isUnfinished(): boolean {
    return this.isUnderWay || this.#isUrgent || this.#lazySinceMs !== undefined;
  }

  /** When the next save is due by time alone; undefined when none is, or one is under way. */
  get dueMs(): number | undefined {
    if (this.isUnderWay) return undefined;
    if (this.#retryAtMs > 0) return this.#retryAtMs;
    return this.#lazySinceMs === undefined ? undefined : this.#lazySinceMs + LAZY_SAVE_MS;
  }

  /** True while it is not on disk whose session this is. */
  get isIdentityDue(): boolean {
    return this.#queued.identity !== undefined || this.#underWay?.identity !== undefined;
  }

  /** Whose session it is that all the rest speaks of, stored or not yet. */
  get presentIdentity(): SessionIdentity | undefined {
    if (this.#queued.identity !== undefined) return this.#queued.identity ?? undefined;
    const underWay = this.#underWay?.identity;
    return underWay === undefined ? this.identity : (underWay ?? undefined);
  }

  /** True while PUBRECs are not known to be stored. */
  get hasReceived(): boolean {
    return this.#queued.received.length > 0 || (this.#underWay?.received.length ?? 0) > 0;
  }

  received(id: number): void {
    this.#queued.received.push(id);
    this.#isUrgent = true;
  }

  condemned(entry: Condemned): void {
    this.#queued.condemned.push(entry);
    this.#isUrgent = true;
  }

  /** The broker's session is a new one. This is stored before anything is published in it. */
  changeIdentity(identity: SessionIdentity | null): void {
    this.#queued.identity = identity;
    this.#isUrgent = true;
  }

  /** PUBRECs that are not known to be stored were those of a session that is gone. */
  forgetReceived(): void {
    this.#queued.received = [];
    if (this.#underWay !== undefined) this.#underWay = { ...this.#underWay, received: [] };
  }

  settled(nowMs: number): void {
    this.#lazySinceMs ??= nowMs;
    if (++this.#lazyCount >= this.lazyCountMax) this.#isUrgent = true;
  }

  /** Something has changed that may lag, and is no settlement: a lane has gone over what was dropped, for example. */
  changed(nowMs: number): void {
    this.#lazySinceMs ??= nowMs;
  }

  /** Asks for a save at the next opportunity. */
  urge(): void {
    this.#isUrgent = true;
  }

  isDue(nowMs: number): boolean {
    if (this.isUnderWay || nowMs < this.#retryAtMs) return false;
    return this.#isUrgent || (this.#lazySinceMs !== undefined && nowMs >= this.#lazySinceMs + LAZY_SAVE_MS);
  }

  begin(progress: SessionProgress): void {
    const changes = this.#queued;
    this.#underWay = { ...changes, progress };
    this.#queued = noChanges();
    this.#isUrgent = false;
    this.#lazySinceMs = undefined;
    this.#lazyCount = 0;
    const quarantine = changes.condemned.map(({ lane, offset, code, reason }) => ({ lane, offset, code, reason }));
    const save: SessionSave = { progress, quarantine };
    if (changes.identity !== undefined) save.identity = changes.identity;
    this.#save(save);
  }

  /** Gives what is on stable storage now, or undefined when the save has failed: everything in it is due again. */
  finished(succeeded: boolean, nowMs: number): SavedChanges | undefined {
    const changes = this.#underWay;
    if (changes === undefined) throw new Error('A save was confirmed that was not under way.');
    this.#underWay = undefined;
    if (succeeded) {
      this.#retryAtMs = 0;
      if (changes.identity !== undefined) this.identity = changes.identity ?? undefined;
      return changes;
    }
    const queued = this.#queued;
    this.#queued = {
      received: [...changes.received, ...queued.received],
      condemned: [...changes.condemned, ...queued.condemned],
      identity: queued.identity === undefined ? changes.identity : queued.identity,
    };
    this.#isUrgent = true;
    this.#retryAtMs = nowMs + SAVE_RETRY_MS;
    return undefined;
  }
}

function noChanges(): Changes {
  return { received: [], condemned: [], identity: undefined };
}

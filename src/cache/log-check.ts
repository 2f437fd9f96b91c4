/**
 * Finds what SQLite passes over in silence: commits in the write-ahead log that it does not see any more.
 *
 * SQLite reads the log up to the first frame that is not right and takes it for the end, because a power cut leaves such
 * an end. When a frame in the middle is damaged, everything behind it, which had its receipts, would be gone without a
 * word, and offsets would be given a second time. Two things tell a damage from an end:
 *
 * - frames of another transaction behind it: they were written after the sync of the one before them had returned;
 * - the index of the log, which counts frames only when they are synced. After a kill it tells how many there were.
 *
 * What is behind the damage is kept: the log is written anew with all its frames, the damaged one as it is, whose rows
 * have checksums of their own. The old log stays beside it. Where frames are gone, the last commits are lost, and that is
 * said.
 */
import { renameSync } from 'node:fs';
import { UNFINISHED_SUFFIX, writeSynced } from './durable-file.js';
import { PAGE_SIZE_BYTES } from './schema.js';
import { type Frame, LogFile, type LogIndex, LogWriter, readLogIndex } from './write-ahead-log.js';

/** A page number beyond is one of a damaged frame: a cache of so many pages has 64 GiB. */
const ORPHAN_PAGES_MAX = 2 ** 24;

export interface LogDamage {
  /** What was found, as a sentence without its beginning and end. */
  text: string;
  /** Commits that had their receipts are gone. */
  isLossy: boolean;
  /** So many frames of the log count, the damaged among them; 0 when SQLite reads all that there is. */
  mendedTo: number;
}

/** Looks at the log of a database that nobody has open, and changes nothing. Undefined: nothing is wrong with it. */
export function inspectLog(path: string): LogDamage | undefined {
  const index = readLogIndex(`${path}-shm`);
  const log = LogFile.open(`${path}-wal`);
  if (log === undefined) return withoutLog(index);
  try {
    return judge(log, index);
  } finally {
    log.close();
  }
}

function withoutLog(index: LogIndex | undefined): LogDamage | undefined {
  if (index === undefined || index.committedFrames <= index.carriedOverFrames) return undefined;
  const count = index.committedFrames - index.carriedOverFrames;
  return { text: `the write-ahead log is gone, with ${count} pages that were committed`, isLossy: true, mendedTo: 0 };
}

function judge(log: LogFile, index: LogIndex | undefined): LogDamage | undefined {
  const { readable, certain, follow, commits, suspects, end } = walk(log);
  // The index of another log is older than this one; where all is carried over, nothing of the log is needed.
  const isOfLog = index?.salt.equals(log.salt) === true && index.committedFrames > index.carriedOverFrames;
  const claimed = isOfLog ? index.committedFrames : 0;
  if (readable >= Math.max(certain, claimed)) return undefined;
  const reach = Math.max(claimed, follow);
  const lastCommit = commits.findLast((end) => end <= reach) ?? 0;
  const mendedTo = lastCommit > readable ? lastCommit : 0;
  const kept = Math.max(mendedTo, readable);
  const parts: string[] = [];
  if (mendedTo > 0) {
    const damaged = suspects.filter((frame) => frame < mendedTo);
    const what = log.isHeaderWhole ? describeFrames(damaged) : 'its header';
    parts.push(`the write-ahead log is damaged (${what}), and what stands behind that was taken over`);
  }
  if (kept < claimed) {
    parts.push(`the write-ahead log ends after ${kept} of ${claimed} frames, and the commits in the others are gone`);
  }
  // In a log that is damaged anyway, what looks like a torn end may be another damage.
  const isEndDoubtful = claimed === 0 && end > kept;
  if (isEndDoubtful) parts.push(`what stands behind its frame ${kept} is not whole, and may have been committed`);
  return { text: parts.join('; '), isLossy: kept < claimed || isEndDoubtful, mendedTo };
}

interface Walk {
  /** So many frames SQLite reads: up to the last commit before anything is wrong. */
  readable: number;
  /** So many frames were committed and synced, because the next transaction goes on from them. */
  certain: number;
  /** As `certain`, with what follows it and is whole. */
  follow: number;
  /** Where commits end, those among them that a rolled back or torn transaction has left behind the end. */
  commits: number[];
  /** Frames that are not right. */
  suspects: number[];
  /** So many frames there are up to the last that belongs to this log, right or not. */
  end: number;
}

function walk(log: LogFile): Walk {
  const result: Walk = { readable: 0, certain: 0, follow: 0, commits: [], suspects: [], end: 0 };
  let isIntact = log.isHeaderWhole;
  /** Every frame since the last commit that is certain is right. */
  let isFollowing = true;
  for (const frame of log.frames()) {
    // The first frame goes on from the header, which says nothing when it is damaged itself.
    const isRight = frame.isWhole || (frame.index === 0 && !log.isHeaderWhole);
    if (!isRight) {
      isIntact = false;
      isFollowing = false;
      result.suspects.push(frame.index);
    } else if (result.commits.at(-1) === frame.index) {
      // What another transaction has left behind has a first frame that does not go on from here.
      result.certain = frame.index;
      result.follow = frame.index;
      isFollowing = true;
    }
    if (!frame.isOfLog) continue;
    const end = frame.index + 1;
    result.end = end;
    // A frame that belongs to the log and fails its checksum is damaged in its page, most likely, and not in its head.
    if (!frame.isCommit) continue;
    result.commits.push(end);
    if (isIntact) result.readable = end;
    if (isFollowing) result.follow = end;
  }
  return result;
}

function describeFrames(frames: readonly number[]): string {
  const [first] = frames;
  if (first === undefined) return 'no frame that counts';
  return frames.length === 1 ? `frame ${first + 1}` : `${frames.length} frames, the first of them ${first + 1}`;
}

/**
 * Writes the first frames of a log into a new one, so that SQLite reads all of them. It takes the place of what stands
 * there at once.
 */
export function mendLog(from: string, to: string, frameCount: number): void {
  const log = LogFile.open(from);
  if (log === undefined) return;
  const written = to + UNFINISHED_SUFFIX;
  try {
    const pagesMax = pageLimit(log, frameCount);
    writeSynced(written, (write) => {
      const writer = new LogWriter(log.salt, write);
      for (const frame of framesOf(log, frameCount)) {
        // Where its page belongs is not known: the older version of that page stands.
        if (!isPlaced(frame, pagesMax)) continue;
        writer.add(log.frameHeader(frame.index), log.framePage(frame.index));
      }
    });
  } finally {
    log.close();
  }
  renameSync(written, to);
}

/** What can be made of the log of a database that is missing. */
export interface OrphanLog {
  /** So many of its frames are used; 0 when there is nothing in it. */
  frameCount: number;
  /** No page is missing, so that the database is as good as the one that was there. */
  isComplete: boolean;
  damage: LogDamage | undefined;
}

/** Looks at the log of a database that is missing, and changes nothing. */
export function inspectOrphan(path: string): OrphanLog {
  const damage = inspectLog(path);
  const log = LogFile.open(`${path}-wal`);
  if (log === undefined) return { frameCount: 0, isComplete: false, damage };
  try {
    const { readable, follow } = walk(log);
    const frameCount = Math.max(readable, follow, damage?.mendedTo ?? 0);
    const { newest, pageCount } = newestPages(log, frameCount);
    let isComplete = pageCount > 0;
    for (let page = 1; page <= pageCount && isComplete; page++) isComplete = newest.has(page);
    return { frameCount, isComplete, damage };
  } finally {
    log.close();
  }
}

/** Writes a database of the newest pages that are in so many frames of a log; what is missing stays zeros. */
export function writeFromLog(logPath: string, target: string, frameCount: number): void {
  const log = LogFile.open(logPath);
  if (log === undefined) return;
  try {
    const { newest } = newestPages(log, frameCount);
    writeSynced(target, (write) => {
      for (const [page, index] of newest) write(log.framePage(index), (page - 1) * PAGE_SIZE_BYTES);
    });
  } finally {
    log.close();
  }
}

function newestPages(log: LogFile, frameCount: number): { newest: Map<number, number>; pageCount: number } {
  const pagesMax = Math.min(pageLimit(log, frameCount), ORPHAN_PAGES_MAX);
  const newest = new Map<number, number>();
  let pageCount = 0;
  for (const frame of framesOf(log, frameCount)) {
    if (!isPlaced(frame, pagesMax)) continue;
    newest.set(frame.page, frame.index);
    if (frame.isCommit) pageCount = log.frameHeader(frame.index).readUInt32BE(4);
  }
  return { newest, pageCount };
}

function* framesOf(log: LogFile, frameCount: number): Generator<Frame> {
  for (const frame of log.frames()) {
    if (frame.index >= frameCount) return;
    yield frame;
  }
}

function isPlaced(frame: Frame, pagesMax: number): boolean {
  return frame.isOfLog && frame.page >= 1 && frame.page <= pagesMax;
}

/** Beyond the largest size that a commit which is right speaks of, each frame can have added one page. */
function pageLimit(log: LogFile, frameCount: number): number {
  let limit = 0;
  for (const { isWhole, isCommit, index } of framesOf(log, frameCount)) {
    if (isWhole && isCommit) limit = Math.max(limit, log.frameHeader(index).readUInt32BE(4));
  }
  return limit === 0 ? Number.MAX_SAFE_INTEGER : limit + frameCount;
}

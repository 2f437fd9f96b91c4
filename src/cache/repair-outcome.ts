/** What a repair leaves in the cache: its findings, and cursors that are right again. */
import { LANES } from '../core/lane.js';
import type { Repair } from './repair-record.js';
import type { CacheFinding } from './store.js';
import type { Tables } from './tables.js';

/** More than a lane takes in a year at full speed, and a small part of the offsets that there are. */
export const OFFSET_LEAP = 2 ** 43;

export function damage(atMs: number, message: string): CacheFinding {
  return { atMs: Math.trunc(atMs), code: 'CACHE_DAMAGED', message };
}

/**
 * Commits the outcome of a repair, once, and gives its findings. When that was done before, it gives what was found from
 * then on, because nobody may have been told of it.
 */
export function storeOutcome(tables: Tables, repair: Repair, atMs: number): readonly CacheFinding[] {
  if (tables.repairId() === repair.id) return tables.findings.all().filter((one) => one.atMs >= repair.atMs);
  return tables.transact(() => {
    const findings = [...repair.findings];
    if (repair.isBehind) findings.push(damage(atMs, leaveLostBehind(tables)));
    for (const finding of findings) tables.findings.add(finding);
    tables.setRepairId(repair.id);
    return findings;
  });
}

/**
 * For a cache whose last commits are gone; inside a transaction. The next offsets begin far above all that may have been
 * given since, because no offset may be given twice; the session begins anew, because the broker knows more of it than we
 * do, and would take a new message under an old packet identifier for one that it has.
 */
function leaveLostBehind(tables: Tables): string {
  const places = LANES.map((lane) => `${lane} ${tables.lanes.of(lane).nextOffset}`).join(', ');
  for (const state of tables.lanes.states) {
    const { nextOffset } = state;
    state.nextOffset = nextOffset + OFFSET_LEAP;
    tables.holes.add(state.index, nextOffset, state.nextOffset, 0);
  }
  tables.session.save(undefined, []);
  forgetSession(tables);
  return (
    `What was accepted after the last commit that is left is lost: in each lane, the messages from this offset on, as ` +
    `far as there were any: ${places}. What is left may reach the broker a second time.`
  );
}

/** Without its identity, the progress of a session means nothing: every message is as good as unsent. */
export function forgetSession(tables: Tables): void {
  for (const state of tables.lanes.states) {
    state.boundOffset = state.firstUnsettled;
    state.isChanged = true;
  }
}

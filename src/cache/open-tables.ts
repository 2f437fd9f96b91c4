/** From a folder to the open tables of its cache, through the salvage of a damaged file where that is needed. */
import { errorText, NorthError, systemCode } from '../core/error.js';
import { cachePath, damage, inspectFile, openFile, prepareFile } from './cache-file.js';
import { forgetSession, OFFSET_LEAP, salvageFile } from './salvage.js';
import type { CacheFinding } from './store.js';
import { isDamage } from './store-error.js';
import { Tables } from './tables.js';

/** Opens the cache or makes a new one, and adds what was found damaged to `findings`. Throws CACHE_NEWER. */
export function openOrSalvage(folder: string, atMs: number, findings: CacheFinding[]): Tables {
  const { kind, isBehind } = inspectFile(folder, findings, atMs);
  if (kind === 'damaged') findings.push(...salvageFile(folder, atMs, 'cache.db cannot be read.'));
  const tables = openOrRebuild(folder, atMs, findings, kind === 'ready');
  if (!isBehind) return tables;
  try {
    findings.push(damage(atMs, leaveLostBehind(tables)));
    return tables;
  } catch (error) {
    tables.db.close();
    if (!isDamage(error)) throw error;
    findings.push(...salvageFile(folder, atMs, damageText(error)));
    const rebuilt = openTables(folder);
    findings.push(damage(atMs, leaveLostBehind(rebuilt)));
    return rebuilt;
  }
}

function openOrRebuild(folder: string, atMs: number, findings: CacheFinding[], mayRebuild: boolean): Tables {
  try {
    return openTables(folder);
  } catch (error) {
    if (!isDamage(error) || !mayRebuild) throw error;
    findings.push(...salvageFile(folder, atMs, damageText(error)));
    return openTables(folder);
  }
}

/**
 * For a cache whose last commits are gone. The next offsets begin far above all that may have been given since, because
 * no offset may be given twice; the session begins anew, because the broker knows more of it than we do, and would take a
 * new message under an old packet identifier for one that it has.
 */
function leaveLostBehind(tables: Tables): string {
  const places = tables.lanes.states.map(({ lane, nextOffset }) => `${lane} ${nextOffset}`).join(', ');
  tables.transact(() => {
    for (const state of tables.lanes.states) {
      const { nextOffset } = state;
      state.nextOffset = nextOffset + OFFSET_LEAP;
      tables.holes.add(state.index, nextOffset, state.nextOffset, 0);
    }
    tables.session.save(undefined, []);
    forgetSession(tables);
  });
  return (
    `What was accepted after the last commit that is left is lost: in each lane, the messages from this offset on, as ` +
    `far as there were any: ${places}. What is left may reach the broker a second time.`
  );
}

export function openTables(folder: string): Tables {
  const db = openFile(cachePath(folder));
  try {
    prepareFile(db);
    return new Tables(db);
  } catch (error) {
    db.close();
    // The statements are right, so that a table or column that they do not find is one that the file has lost.
    if (systemCode(error) !== 'SQLITE_ERROR') throw error;
    throw new NorthError('CACHE_DAMAGED', errorText(error), { cause: error });
  }
}

export function damageText(error: unknown): string {
  return `cache.db is damaged: ${errorText(error)}.`;
}

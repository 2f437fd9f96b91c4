/** What was found damaged and what was done about it, so that it is still shown after the next start. */
import type Database from 'better-sqlite3';
import type { CacheFinding } from './store.js';

/** Older ones give way: a disk that decays must not fill itself with reports of it. */
const FINDINGS_MAX = 100;

export class FindingTable {
  readonly #insert: Database.Statement<[number, string, string]>;
  readonly #trim: Database.Statement<[number]>;
  readonly #all: Database.Statement<[], CacheFinding>;

  constructor(db: Database.Database) {
    this.#insert = db.prepare('INSERT INTO finding (at_ms, code, message) VALUES (?, ?, ?)');
    this.#trim = db.prepare('DELETE FROM finding WHERE id <= (SELECT max(id) FROM finding) - ?');
    this.#all = db.prepare('SELECT at_ms AS atMs, code, message FROM finding ORDER BY id');
  }

  add(finding: CacheFinding): void {
    this.#insert.run(finding.atMs, finding.code, finding.message);
    this.#trim.run(FINDINGS_MAX);
  }

  all(): CacheFinding[] {
    return this.#all.all();
  }
}

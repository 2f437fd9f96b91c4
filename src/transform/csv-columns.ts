/** Which cell of a row a configured column is. Names are known only when the header of a piece of content is read. */
import { nearMiss } from '../config/near-miss.js';
import { NorthError } from '../core/error.js';
import { quote } from './element.js';

/** A column as the configuration names it: by header or by 0-based number. */
export type ColumnReference = string | number;

/** One row of one piece of content. */
export interface CsvRecord {
  text: string;
  cells: readonly string[];
  /** For each slot of the columns the index of its cell. */
  indices: readonly number[];
}

/**
 * The columns that a configuration refers to. Each gets a slot when the transformer is opened; a header, or its absence,
 * gives each slot the index of a cell.
 */
export class CsvColumns {
  readonly #references: { reference: ColumnReference; place: string }[] = [];
  readonly #hasHeader: boolean;

  constructor(hasHeader: boolean) {
    this.#hasHeader = hasHeader;
  }

  /** The slot of a column. Throws CONFIG_INVALID for a name where there is no header. */
  slot(reference: ColumnReference, place: string): number {
    if (!this.#hasHeader && columnNumber(reference) === undefined) {
      throw new NorthError('CONFIG_INVALID', `There is no header that could name a column ${quote(reference)}.`, {
        place,
        remedy: 'Give the number of the column, from 0, or set hasHeader: true.',
      });
    }
    return this.#references.push({ reference, place }) - 1;
  }

  /** The indices of all slots under a header, or without one. Throws CONTENT_MALFORMED for a column that is not there. */
  resolve(names: readonly string[] | undefined): number[] {
    return this.#references.map(({ reference, place }) => {
      if (names === undefined) return columnNumber(reference)!;
      const byName = names.indexOf(String(reference));
      if (typeof reference === 'string' && byName >= 0) return byName;
      const index = columnNumber(reference);
      if (index !== undefined && index < names.length) return index;
      throw missingColumn(reference, place, names);
    });
  }
}

function columnNumber(reference: ColumnReference): number | undefined {
  if (typeof reference === 'number') return reference;
  return /^\d{1,6}$/.test(reference) ? Number(reference) : undefined;
}

function missingColumn(reference: ColumnReference, place: string, names: readonly string[]): NorthError {
  const near = typeof reference === 'string' ? nearMiss(reference, names) : undefined;
  const hint = near === undefined ? '' : ` There is ${quote(near)}.`;
  const message = `The header has no column ${quote(reference)}, which ${place} names.${hint} It has ${names.length} columns.`;
  return new NorthError('CONTENT_MALFORMED', message, {
    remedy: `Compare the header with ${place} of the transformer; check delimiter and encoding, too.`,
  });
}

/**
 * The names of the columns. One without a name is called after its number (`column_2`), and a name that is there
 * already gets a number behind it (`value_2`), so that no cell is lost where names become keys.
 */
export function columnNames(header: readonly string[]): string[] {
  const taken = new Set<string>(header);
  const seen = new Set<string>();
  return header.map((name, index) => {
    let unique = name === '' ? `column_${index}` : name;
    if (name === '' ? taken.has(unique) : seen.has(unique)) {
      const base = unique;
      for (let count = 2; seen.has(unique) || taken.has(unique); count++) unique = `${base}_${count}`;
    }
    seen.add(unique);
    return unique;
  });
}

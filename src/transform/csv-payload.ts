/** The payload of a CSV row. What can be decided once per configuration or per header is decided there. */
import type { ConfigOf } from '../config/transformers.js';
import type { CsvColumns, CsvRecord } from './csv-columns.js';
import { quote } from './element.js';
import { compileField, type Field, type FieldProblem, fieldJson } from './field.js';

export type RowPayload = (record: CsvRecord) => string | FieldProblem;

/** Gives the payload of rows under a header with these names, or without one. */
export type PayloadCompiler = (names: readonly string[] | undefined) => RowPayload;

interface RowField {
  slot: number;
  field: Field;
  column: string;
  /** `"key":` */
  prefix: string;
}

/** Throws CONFIG_INVALID for a column or date format that is not usable. */
export function compilePayload(config: ConfigOf<'csv-to-mqtt'>, columns: CsvColumns): PayloadCompiler {
  const { decimalSeparator } = config;
  switch (config.payloadType) {
    case 'line':
      return () => (record) => record.text;
    case 'row-object':
      return rowObject;
    case 'object': {
      const fields = (config.objectFields ?? []).map((entry, index): RowField => {
        const place = `objectFields[${index}]`;
        return {
          slot: columns.slot(entry.column, `${place}.column`),
          field: compileField({ ...entry, decimalSeparator, place: `${place}.datetime` }),
          column: quote(entry.column),
          prefix: `${JSON.stringify(entry.key)}:`,
        };
      });
      const mayLackCells = config.raggedRows === 'accept';
      return () => (record) => objectOf(fields, record, mayLackCells);
    }
    case 'column': {
      const { valueColumn = 0, valueType: type, datetime } = config;
      const slot = columns.slot(valueColumn, 'valueColumn');
      const field = compileField({ type, datetime, decimalSeparator, place: 'datetime' });
      return () => (record) => single(field, record.cells[record.indices[slot]!], quote(valueColumn));
    }
  }
}

function rowObject(names: readonly string[] | undefined): RowPayload {
  const prefixes = names?.map((name) => `${JSON.stringify(name)}:`);
  return ({ cells }) => {
    let json = '{';
    // Cells beyond the header, where they are accepted, have no name that they could go under.
    const count = prefixes === undefined ? cells.length : Math.min(cells.length, prefixes.length);
    for (let index = 0; index < count; index++) {
      if (index > 0) json += ',';
      json += (prefixes === undefined ? `"${index}":` : prefixes[index]!) + JSON.stringify(cells[index]!);
    }
    return `${json}}`;
  };
}

function objectOf(fields: readonly RowField[], record: CsvRecord, mayLackCells: boolean): string | FieldProblem {
  let json = '{';
  for (const { slot, field, column, prefix } of fields) {
    const cell = record.cells[record.indices[slot]!];
    if (cell === undefined && !mayLackCells) return { problem: `there is no column ${column}` };
    const converted = field.convert(cell);
    if (typeof converted === 'object' && converted !== null) {
      return { problem: `the cell of column ${column}: ${converted.problem}` };
    }
    if (json.length > 1) json += ',';
    json += prefix + fieldJson(field, converted);
  }
  return `${json}}`;
}

function single(field: Field, cell: string | undefined, column: string): string | FieldProblem {
  const converted = field.convert(cell);
  if (typeof converted === 'string') return converted;
  if (converted === null) return cell === undefined ? { problem: `there is no column ${column}` } : 'null';
  return { problem: `the cell of column ${column}: ${converted.problem}` };
}

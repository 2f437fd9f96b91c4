/** CSV to messages, row by row. Files of any size pass through: see `ChunkOptions`. */
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { CsvColumns, type CsvRecord, columnNames } from './csv-columns.js';
import { compilePayload, type PayloadCompiler, type RowPayload } from './csv-payload.js';
import { type CsvFormat, type CsvRow, CsvRows } from './csv-rows.js';
import { contentOf, eventLoopTurn } from './element.js';
import { draftAlong, type Route, routeTo, unsentAlong } from './route.js';
import { cleanTopic, TopicTemplate } from './topic-template.js';
import type { ChunkOptions, MessageSink, Transformer } from './transformer.js';

const CHUNK_ROWS_MAX = 5000;
const CHUNK_SIZE_MAX_BYTES = 4 * 1024 * 1024;

/** What the first row says about the others. */
interface Table {
  indices: readonly number[];
  payload: RowPayload;
  /** How many cells a row has; undefined until a row that could be read has shown it. */
  cellsCount: number | undefined;
}

/** The topic of a row, or the code and the reason why it has none. */
type TopicOfRow = (record: CsvRecord) => string | { code: 'UNMAPPED' | 'TOPIC_INVALID'; problem: string };

export class CsvTransformer implements Transformer {
  readonly type = 'csv-to-mqtt';
  readonly from: Source;
  readonly #format: CsvFormat;
  readonly #hasHeader: boolean;
  readonly #acceptsRagged: boolean;
  readonly #columns: CsvColumns;
  readonly #topicOf: TopicOfRow;
  readonly #isTopicFromContent: boolean;
  readonly #payload: PayloadCompiler;
  readonly #route: Route;

  constructor(config: ConfigOf<'csv-to-mqtt'>) {
    this.from = config.from;
    this.#format = formatOf(config);
    this.#hasHeader = config.hasHeader;
    this.#acceptsRagged = config.raggedRows === 'accept';
    this.#route = routeTo('', config);
    const columns = new CsvColumns(config.hasHeader);
    this.#columns = columns;
    this.#payload = compilePayload(config, columns);
    if (config.topic === undefined) {
      this.#topicOf = topicFromColumn(columns, config);
      this.#isTopicFromContent = true;
    } else {
      const template = new TopicTemplate<CsvRecord>(config.topic, {
        compileField: (name) => {
          const slot = columns.slot(name, 'topic');
          return ({ cells, indices }) => cells[indices[slot]!];
        },
        clean: config.clean,
        place: 'topic',
      });
      this.#topicOf = (record) => {
        const topic = template.render(record);
        return typeof topic === 'string' ? topic : { code: 'UNMAPPED', problem: topic.problem };
      };
      this.#isTopicFromContent = template.beginsWithField;
    }
  }

  takes(type: ContentType, source: Source): boolean {
    return type === 'csv' && (this.from === '*' || this.from === source);
  }

  async transform(content: Content, sink: MessageSink, chunks?: ChunkOptions): Promise<void> {
    const { body } = contentOf(content, 'csv');
    const rows = new CsvRows(this.#format);
    const run = new CsvRun(sink, chunks);
    let table: Table | undefined;
    const take = async (): Promise<void> => {
      for (let row = rows.next(); row !== undefined; row = rows.next()) {
        if (table === undefined) {
          table = this.#openTable(row);
          if (this.#hasHeader) continue;
        }
        const { index } = run;
        if (!run.isSkipping) this.#take(row, table, index, sink);
        else table.cellsCount ??= row.problem === undefined ? row.cells.length : undefined;
        const turn = run.rowDone();
        if (turn !== undefined) await turn;
      }
    };
    for await (const part of body instanceof Uint8Array ? [body] : body) {
      rows.push(typeof part === 'string' ? Buffer.from(part) : part);
      await take();
    }
    rows.end();
    await take();
    await run.finish();
  }

  #openTable(first: CsvRow): Table {
    if (!this.#hasHeader) {
      return { indices: this.#columns.resolve(undefined), payload: this.#payload(undefined), cellsCount: undefined };
    }
    if (first.problem !== undefined) {
      throw new NorthError('CONTENT_MALFORMED', `The header of the CSV cannot be read: ${first.problem}.`, {
        remedy: 'Check encoding, quote and delimiter of the transformer.',
      });
    }
    const names = columnNames(first.cells);
    return { indices: this.#columns.resolve(names), payload: this.#payload(names), cellsCount: names.length };
  }

  /** Gives one row to the sink. A row that cannot be used goes to quarantine as it came, so that nothing is lost. */
  #take(row: CsvRow, table: Table, index: number, sink: MessageSink): void {
    const route = this.#route;
    if (row.isTooLong) {
      sink.reject(index, 'MESSAGE_TOO_LARGE', `Line ${row.line}: ${row.problem}.`);
      return;
    }
    const problem = row.problem ?? this.#raggedProblem(row, table);
    if (problem !== undefined) {
      sink.quarantine(index, 'ROW_INVALID', `Line ${row.line}: ${problem}.`, unsentAlong(route, row.raw));
      return;
    }
    const record: CsvRecord = { text: row.text, cells: row.cells, indices: table.indices };
    const payload = table.payload(record);
    const topic = this.#topicOf(record);
    if (typeof payload !== 'string') {
      const draft = unsentAlong(route, row.raw, typeof topic === 'string' ? topic : undefined);
      sink.quarantine(index, 'ROW_INVALID', `Line ${row.line}: ${payload.problem}.`, draft);
    } else if (typeof topic !== 'string') {
      sink.quarantine(index, topic.code, `Line ${row.line}: ${topic.problem}`, unsentAlong(route, payload));
    } else {
      sink.push(index, draftAlong(route, topic, payload, this.#isTopicFromContent));
    }
  }

  #raggedProblem(row: CsvRow, table: Table): string | undefined {
    const count = row.cells.length;
    table.cellsCount ??= count;
    if (this.#acceptsRagged || count === table.cellsCount) return undefined;
    return `the row has ${count} cells, ${this.#hasHeader ? 'the header' : 'the first row'} has ${table.cellsCount}`;
  }
}

/** Counts the rows of one piece of content and ends its chunks. */
class CsvRun {
  index = 0;
  readonly #sink: MessageSink;
  readonly #chunks: ChunkOptions | undefined;
  readonly #skipRowsCount: number;
  readonly #rowsMax: number;
  readonly #sizeMaxBytes: number;
  readonly #endsAtRows: readonly number[];
  #chunkRowsCount = 0;

  constructor(sink: MessageSink, chunks: ChunkOptions | undefined) {
    this.#sink = sink;
    this.#chunks = chunks;
    this.#skipRowsCount = chunks?.skipRowsCount ?? 0;
    this.#rowsMax = chunks?.rowsMax ?? CHUNK_ROWS_MAX;
    this.#sizeMaxBytes = chunks?.sizeMaxBytes ?? CHUNK_SIZE_MAX_BYTES;
    this.#endsAtRows = chunks?.endsAtRows ?? [];
  }

  get isSkipping(): boolean {
    return this.index < this.#skipRowsCount;
  }

  /** Counts a row. When a chunk ends with it, the promise is to be awaited. */
  rowDone(): Promise<void> | undefined {
    const wasSkipped = this.isSkipping;
    this.index++;
    this.#chunkRowsCount++;
    const isFull = this.#chunks !== undefined && !wasSkipped && this.#sink.sizeBytes >= this.#sizeMaxBytes;
    const isMarked = this.#endsAtRows.length > 0 && this.#endsAtRows.includes(this.index);
    if (this.#chunkRowsCount < this.#rowsMax && !isFull && !isMarked) return undefined;
    // Rows that are passed over, or are collected as a whole, only let others have their turn.
    if (this.#chunks !== undefined && !wasSkipped) return this.#endChunk(this.#chunks);
    this.#chunkRowsCount = 0;
    return eventLoopTurn();
  }

  async finish(): Promise<void> {
    const isAnyLeft = this.#chunkRowsCount > 0 && this.index > this.#skipRowsCount;
    if (this.#chunks !== undefined && isAnyLeft) await this.#endChunk(this.#chunks);
  }

  #endChunk(chunks: ChunkOptions): Promise<void> {
    this.#chunkRowsCount = 0;
    return chunks.onChunk(this.index);
  }
}

function topicFromColumn(columns: CsvColumns, config: ConfigOf<'csv-to-mqtt'>): TopicOfRow {
  const slot = columns.slot(config.topicColumn ?? 0, 'topicColumn');
  const { clean } = config;
  return ({ cells, indices }) => {
    const topic = cells[indices[slot]!];
    if (topic === undefined || topic === '')
      return { code: 'TOPIC_INVALID', problem: 'the cell with the topic is empty.' };
    return clean ? cleanTopic(topic) : topic;
  };
}

function formatOf(config: ConfigOf<'csv-to-mqtt'>): CsvFormat {
  const { delimiter, quote, encoding, maxRowSize } = config;
  // Rows are found in the bytes as they come, so that the delimiter must have the same bytes in every position.
  if (encoding !== 'utf-8' && !/^[\0-\x7f\xa0-\xff]+$/.test(delimiter)) {
    throw new NorthError('CONFIG_INVALID', `The delimiter has a character that ${encoding} does not have.`, {
      place: 'delimiter',
      remedy: 'Use another delimiter, or encoding: utf-8.',
    });
  }
  return { delimiter, quote, encoding, rowSizeMaxBytes: maxRowSize };
}

/** Transformers turn content into messages; each type of them has a file of its own here. */
import type { TransformerConfig } from '../config/transformers.js';
import type { Content, ContentType, Source } from '../core/content.js';
import type { ErrorCode } from '../core/error-codes.js';
import type { Lane } from '../core/lane.js';
import type { MessageProperties, QoS } from '../core/message.js';
import { CsvTransformer } from './csv.js';
import { IgnoreTransformer } from './ignore.js';
import { JsonTransformer } from './json.js';
import { MessagesTransformer } from './messages.js';
import { SetpointsTransformer } from './setpoints.js';
import { TimeValuesTransformer } from './time-values.js';

/** A message as a transformer knows it. What it leaves out comes from the settings of the connection. */
export interface MessageDraft {
  /** Without the topic prefix. The sink checks it. */
  topic: string;
  /**
   * True when the content decided how the topic begins. A leading "$" is then refused: what looks like the name of a
   * machine could otherwise land among the broker's own topics, where no subscriber to "#" sees it [MQTT 5.0 §4.7.2].
   */
  isTopicFromContent?: boolean;
  /** A text is sent as UTF-8 and must not have half a surrogate pair in it: see `textProblem`. */
  payload: Uint8Array | string;
  qos?: QoS | undefined;
  retain?: boolean | undefined;
  /** `telemetry` when left out. */
  lane?: Lane | undefined;
  expirySeconds?: number | undefined;
  properties?: MessageProperties | undefined;
}

/** What is kept in quarantine of content that cannot become a message. */
export type UnsentDraft = Omit<MessageDraft, 'topic'> & { topic?: string | undefined };

/**
 * Takes what a transformer makes of content. Every element of the content ends in exactly one of the four calls; an
 * index is that of the element, 0-based, and for CSV that of the data row.
 */
export interface MessageSink {
  /** Bytes that were taken since the sink was last emptied. */
  readonly sizeBytes: number;
  push(index: number, draft: MessageDraft): void;
  /** The element is not usable: nothing of it is stored. */
  reject(index: number, code: ErrorCode, message: string): void;
  /** The element cannot become a message as things stand, but is kept with its payload. */
  quarantine(index: number, code: ErrorCode, reason: string, draft: UnsentDraft): void;
  /** So many elements are dropped on purpose, because the configuration says so. */
  ignored(count: number): void;
}

/** How content that may be larger than memory is taken in parts. */
export interface ChunkOptions {
  /** Rows at the beginning that were taken before and are passed over; their indices are counted. */
  skipRowsCount?: number;
  /** A chunk ends when it has so many rows … */
  rowsMax?: number;
  /** … or when the sink has taken so many bytes. */
  sizeMaxBytes?: number;
  /** … and in any case after each of these numbers of rows, the skipped ones counted. */
  endsAtRows?: readonly number[];
  /**
   * Called after each chunk, and after the last rows, with the number of rows that are done, the skipped ones included.
   * No further row is read before the promise resolves; what it rejects with ends the transformation.
   */
  onChunk(rowsCount: number): Promise<void>;
}

/** A configured transformer. It keeps no state between two pieces of content, and may work on several at once. */
export interface Transformer {
  readonly type: TransformerConfig['type'];
  /** The source that it takes content from; `*` is any. */
  readonly from: Source;
  takes(type: ContentType, source: Source): boolean;
  /**
   * Gives every element of the content to the sink. A promise is returned for content that is read from a stream, is
   * evaluated asynchronously, or is so long that others must have their turn in between.
   *
   * Throws or rejects with CONTENT_MALFORMED when the content as a whole is not usable (a CSV header without the
   * configured column), or with what the content's stream fails with. `chunks` is for CSV; other content is in memory.
   */
  transform(content: Content, sink: MessageSink, chunks?: ChunkOptions): void | Promise<void>;
}

/**
 * The transformer for a configuration. Throws CONFIG_INVALID with the place inside the configuration
 * (`objectFields[0].datetime.input.format`) for what only compiling can tell: templates, paths, expressions, formats.
 */
export function openTransformer(config: TransformerConfig): Transformer {
  switch (config.type) {
    case 'time-values-to-mqtt':
      return new TimeValuesTransformer(config);
    case 'setpoints-to-mqtt':
      return new SetpointsTransformer(config);
    case 'csv-to-mqtt':
      return new CsvTransformer(config);
    case 'json-to-mqtt':
      return new JsonTransformer(config);
    case 'messages-to-mqtt':
      return new MessagesTransformer(config);
    case 'ignore':
      return new IgnoreTransformer(config);
  }
}

/** What takes `messages` where no transformer is configured for them: they say everything themselves. */
export function openPassThrough(): Transformer {
  return new MessagesTransformer({ type: 'messages-to-mqtt', from: '*' });
}

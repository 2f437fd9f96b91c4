/** Drops content on purpose, and says how much. */
import type { ConfigOf } from '../config/transformers.js';
import type { Content, ContentType, Source } from '../core/content.js';
import type { MessageSink, Transformer } from './transformer.js';

export class IgnoreTransformer implements Transformer {
  readonly type = 'ignore';
  readonly from: Source;
  readonly #types: readonly ContentType[] | undefined;

  constructor(config: ConfigOf<'ignore'>) {
    this.from = config.from;
    this.#types = config.types;
  }

  takes(type: ContentType, source: Source): boolean {
    return (this.from === '*' || this.from === source) && (this.#types?.includes(type) ?? true);
  }

  /** Counts the elements of a list; a document and a CSV count as one. */
  transform(content: Content, sink: MessageSink): void | Promise<void> {
    if (content.type === 'csv') return this.#drain(content.body, sink);
    sink.ignored(content.type === 'json' ? 1 : content.elements.length);
  }

  // A stream that is left unread would keep its socket or file open.
  async #drain(body: Uint8Array | AsyncIterable<unknown>, sink: MessageSink): Promise<void> {
    if (!(body instanceof Uint8Array)) for await (const _ of body);
    sink.ignored(1);
  }
}

/** What a transformer gave, in order, for the tests of this folder. */
import { type TransformerOptions, transformerSchema } from '../../src/config/transformers.js';
import type { Content } from '../../src/core/content.js';
import type { ErrorCode } from '../../src/core/error-codes.js';
import {
  type ChunkOptions,
  type MessageDraft,
  type MessageSink,
  openTransformer,
  type Transformer,
  type UnsentDraft,
} from '../../src/transform/transformer.js';

export interface Pushed {
  index: number;
  topic: string;
  payload: string;
  draft: MessageDraft;
}

export interface SetAside {
  index: number;
  code: ErrorCode;
  reason: string;
  payload: string;
  draft: UnsentDraft;
}

export interface Refused {
  index: number;
  code: ErrorCode;
  message: string;
}

export class RecordingSink implements MessageSink {
  readonly pushed: Pushed[] = [];
  readonly quarantined: SetAside[] = [];
  readonly rejected: Refused[] = [];
  ignoredCount = 0;
  sizeBytes = 0;

  push(index: number, draft: MessageDraft): void {
    const payload = textOf(draft.payload);
    this.sizeBytes += payload.length + draft.topic.length;
    this.pushed.push({ index, topic: draft.topic, payload, draft });
  }

  reject(index: number, code: ErrorCode, message: string): void {
    this.rejected.push({ index, code, message });
  }

  quarantine(index: number, code: ErrorCode, reason: string, draft: UnsentDraft): void {
    const payload = textOf(draft.payload);
    this.sizeBytes += payload.length;
    this.quarantined.push({ index, code, reason, payload, draft });
  }

  ignored(count: number): void {
    this.ignoredCount += count;
  }

  /** Every index that the sink was told, sorted. */
  get indices(): number[] {
    const all = [...this.pushed, ...this.quarantined, ...this.rejected].map(({ index }) => index);
    return all.sort((a, b) => a - b);
  }

  /** `topic payload` of each message. */
  get messages(): string[] {
    return this.pushed.map(({ topic, payload }) => `${topic} ${payload}`);
  }
}

function textOf(payload: Uint8Array | string): string {
  return typeof payload === 'string' ? payload : Buffer.from(payload).toString('latin1');
}

/** The transformer for options as a user writes them. */
export function open(options: TransformerOptions): Transformer {
  return openTransformer(transformerSchema.parse(options));
}

/** Opens a transformer and gives it one piece of content. */
export async function run(
  options: TransformerOptions,
  content: Content,
  chunks?: ChunkOptions,
): Promise<RecordingSink> {
  const sink = new RecordingSink();
  await open(options).transform(content, sink, chunks);
  return sink;
}

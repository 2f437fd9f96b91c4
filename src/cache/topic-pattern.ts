/** What `ListQuery.topic` means: the exact topic, or texts in their order with anything where a `*` stands. */
export class TopicPattern {
  readonly #parts: readonly Buffer[];

  constructor(text: string) {
    this.#parts = text.split('*').map((part) => Buffer.from(part));
  }

  matches(topic: Uint8Array): boolean {
    const parts = this.#parts;
    const first = parts[0]!;
    if (parts.length === 1 && topic.length !== first.length) return false;
    const bytes = Buffer.isBuffer(topic) ? topic : Buffer.from(topic.buffer, topic.byteOffset, topic.length);
    if (parts.length === 1) return bytes.equals(first);
    const last = parts[parts.length - 1]!;
    const end = bytes.length - last.length;
    if (end < first.length) return false;
    if (!bytes.subarray(0, first.length).equals(first) || !bytes.subarray(end).equals(last)) return false;
    let at = first.length;
    for (let index = 1; index < parts.length - 1; index++) {
      const part = parts[index]!;
      const found = bytes.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  }
}

/** What is written in one turn goes out in as few writes as possible, from a buffer that is used again. */

const OUTPUT_SIZE_BYTES = 64 * 1024;
/** Below this the output is copied and the buffer used again; above, it is handed over and a new one is made. */
const COPY_MAX_BYTES = 4096;

export class Output {
  /** False while the socket has enough. */
  isWritable = true;
  /** When anything was written last. */
  writtenAtMs = 0;
  /** Packets are encoded into it from `size` on, after `reserve`. */
  buffer: Buffer = Buffer.allocUnsafeSlow(OUTPUT_SIZE_BYTES);
  size = 0;
  readonly #write: (bytes: Uint8Array) => boolean;

  /** @param write gives false when the socket has enough. */
  constructor(write: (bytes: Uint8Array) => boolean) {
    this.#write = write;
  }

  /** Makes room for so many bytes. */
  reserve(sizeBytes: number, nowMs: number): void {
    if (this.size + sizeBytes <= this.buffer.length) return;
    this.flush(nowMs);
    if (sizeBytes > this.buffer.length) this.buffer = Buffer.allocUnsafeSlow(sizeBytes);
  }

  flush(nowMs: number): void {
    const { size } = this;
    if (size === 0) return;
    this.size = 0;
    this.writtenAtMs = nowMs;
    if (size <= COPY_MAX_BYTES) {
      this.isWritable = this.#write(Buffer.from(this.buffer.subarray(0, size))) && this.isWritable;
      return;
    }
    const bytes = this.buffer.subarray(0, size);
    this.buffer = Buffer.allocUnsafeSlow(OUTPUT_SIZE_BYTES);
    this.isWritable = this.#write(bytes) && this.isWritable;
  }

  /** Writes bytes of another kind after what is in the buffer. */
  write(bytes: Uint8Array, nowMs: number): void {
    this.flush(nowMs);
    this.writtenAtMs = nowMs;
    this.isWritable = this.#write(bytes) && this.isWritable;
  }
}

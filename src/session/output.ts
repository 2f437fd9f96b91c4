/**
 * What is written in one turn goes out in as few writes as possible. Packets are encoded into a slab; what was written of it
 * belongs to the socket from then on and is not touched again, and the next packets go behind it.
 */

const SLAB_SIZE_BYTES = 64 * 1024;

export class Output {
  /** False while the socket has enough. */
  isWritable = true;
  /** When anything was written last. */
  writtenAtMs = 0;
  /** Packets are encoded into it from `size` on, after `reserve`. */
  buffer: Buffer = Buffer.allocUnsafeSlow(SLAB_SIZE_BYTES);
  size = 0;
  /** What is before this was written. */
  #start = 0;
  readonly #write: (bytes: Uint8Array) => boolean;

  /** @param write gives false when the socket has enough. */
  constructor(write: (bytes: Uint8Array) => boolean) {
    this.#write = write;
  }

  /** Makes room for so many bytes. */
  reserve(sizeBytes: number, nowMs: number): void {
    if (this.size + sizeBytes <= this.buffer.length) return;
    this.flush(nowMs);
    this.buffer = Buffer.allocUnsafeSlow(Math.max(SLAB_SIZE_BYTES, sizeBytes));
    this.size = 0;
    this.#start = 0;
  }

  flush(nowMs: number): void {
    const { size } = this;
    if (size === this.#start) return;
    const bytes = this.buffer.subarray(this.#start, size);
    this.#start = size;
    this.writtenAtMs = nowMs;
    this.isWritable = this.#write(bytes) && this.isWritable;
  }

  /** Writes bytes of another kind after what is in the buffer. */
  write(bytes: Uint8Array, nowMs: number): void {
    this.flush(nowMs);
    this.writtenAtMs = nowMs;
    this.isWritable = this.#write(bytes) && this.isWritable;
  }
}

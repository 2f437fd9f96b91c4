/**
 * Collects bytes that go to another thread without being copied more than once.
 *
 * A view is sent together with the whole of its ArrayBuffer, so a small view of a large buffer costs the large one. Bytes
 * that fill most of their own buffer are handed over with it, and the sender's view is empty afterwards. Small ones are
 * put together into one buffer, since each transfer has its own price. Shared memory is neither copied nor transferred.
 */
const SMALL_SIZE_MAX_BYTES = 16 * 1024;
const PACK_SIZE_MIN_BYTES = 4 * 1024;
const PACK_SIZE_MAX_BYTES = 256 * 1024;

export class Parcel {
  readonly #buffers = new Set<ArrayBuffer>();
  #pack: ArrayBuffer | undefined;
  #packed = 0;

  /** The same bytes, in a form that is sent with `buffers` as the transfer list. */
  add(bytes: Uint8Array): Uint8Array {
    const { buffer, byteOffset, length } = bytes;
    if (!(buffer instanceof ArrayBuffer)) return bytes;
    if (length >= SMALL_SIZE_MAX_BYTES && byteOffset === 0 && length * 2 >= buffer.byteLength) {
      this.#buffers.add(buffer);
      return bytes;
    }
    return this.copy(bytes);
  }

  /** A copy of the bytes, which stay the sender's. */
  copy(bytes: Uint8Array): Uint8Array {
    const copy = this.#reserve(bytes.length);
    copy.set(bytes);
    return copy;
  }

  get buffers(): ArrayBuffer[] {
    return [...this.#buffers];
  }

  #reserve(size: number): Uint8Array {
    let pack = this.#pack;
    if (pack === undefined || this.#packed + size > pack.byteLength) {
      const next = Math.min((pack?.byteLength ?? PACK_SIZE_MIN_BYTES / 2) * 2, PACK_SIZE_MAX_BYTES);
      pack = new ArrayBuffer(Math.max(size, next));
      this.#buffers.add(pack);
      this.#pack = pack;
      this.#packed = 0;
    }
    const view = new Uint8Array(pack, this.#packed, size);
    this.#packed += size;
    return view;
  }
}

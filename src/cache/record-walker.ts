import { recordSizeAt } from '../core/record.js';

/** Goes through the records of one batch, forwards, without making an object per record. */
export class RecordWalker {
  readonly data: Uint8Array;
  /** The record that it stands at. */
  index = 0;
  at = 0;
  sizeBytes: number;

  constructor(data: Uint8Array) {
    this.data = data;
    this.sizeBytes = recordSizeAt(data, 0) ?? 0;
  }

  /** False at the end, and where the bytes are no record. */
  get isAtRecord(): boolean {
    return this.sizeBytes > 0;
  }

  next(): void {
    this.at += this.sizeBytes;
    this.index++;
    this.sizeBytes = recordSizeAt(this.data, this.at) ?? 0;
  }

  /** Goes to the record number `index`, from the beginning when that lies behind. */
  seek(index: number): void {
    if (index < this.index) {
      this.index = 0;
      this.at = 0;
      this.sizeBytes = recordSizeAt(this.data, 0) ?? 0;
    }
    while (this.index < index && this.isAtRecord) this.next();
  }

  get record(): Uint8Array {
    return this.data.subarray(this.at, this.at + this.sizeBytes);
  }
}

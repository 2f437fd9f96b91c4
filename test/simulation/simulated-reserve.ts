import { ReserveFile } from '../../src/cache/reserve-file.js';

/** Room that can be given up once while the disk is full. */
export class SimulatedReserve extends ReserveFile {
  readonly #release: () => boolean;
  readonly #fill: () => void;

  constructor(release: () => boolean, fill: () => void) {
    super('/nowhere/cache.reserve', 0);
    this.#release = release;
    this.#fill = fill;
  }

  override fill(): void {
    this.#fill();
  }

  override release(): boolean {
    return this.#release();
  }
}

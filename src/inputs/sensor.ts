/** One group of this machine's measurements. */

export interface Reading {
  /** Below the input's prefix: `cpu/core/0/load`. */
  point: string;
  value: number;
  unit: string;
}

export interface Sensor {
  /**
   * What can be read now; nothing for what this machine does not have. Rates need two readings, so that the first may
   * give less. Rejects when something that should be there cannot be read.
   */
  read(): Promise<Reading[]>;
}

/**
 * A name from the machine as a part of a point id, which may become a level of a topic: without the characters that
 * mean something there.
 */
export function pointPart(name: string): string {
  const part = name
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}._-]+/gu, '-')
    .replaceAll(/^-+|-+$/g, '');
  return part === '' ? 'unnamed' : part;
}

/** Makes a name unique among those used before: the second `core` is `core-2`. */
export function uniquePart(part: string, used: Set<string>): string {
  let unique = part;
  for (let number = 2; used.has(unique); number++) unique = `${part}-${number}`;
  used.add(unique);
  return unique;
}

export function round(value: number, digits: number): number {
  const scale = 10 ** digits;
  return Math.round(value * scale) / scale;
}

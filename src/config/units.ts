/** Durations and sizes as people write them: `1 s`, `72 h`, `10 GiB`; a bare number is milliseconds or bytes. */

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  min: 60_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1000,
  KB: 1000,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

const QUANTITY = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/;

function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = QUANTITY.exec(text);
  if (match === null) return undefined;
  const unit = match[2] === '' ? 1 : units[match[2]!];
  return unit === undefined ? undefined : Math.round(Number(match[1]) * unit);
}

/** Milliseconds of a duration text, or undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  return parseQuantity(text, DURATION_UNITS);
}

/** Bytes of a size text, or undefined when it is none. */
export function parseSize(text: string): number | undefined {
  return parseQuantity(text, SIZE_UNITS);
}

/** The shortest exact text of a duration: `90 s`, `72 h`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'min', 's'] as const) {
    const scale = DURATION_UNITS[unit]!;
    if (ms >= scale && ms % scale === 0) return `${ms / scale} ${unit}`;
  }
  return `${ms} ms`;
}

/** A size for people: exact in the largest binary unit that divides it, otherwise with one decimal. */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    const scale = SIZE_UNITS[unit]!;
    if (bytes >= scale) return `${bytes % scale === 0 ? bytes / scale : (bytes / scale).toFixed(1)} ${unit}`;
  }
  return `${bytes} B`;
}

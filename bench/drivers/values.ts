/**
 * Time-values of one length, so that a number can be put into a body that is already encoded, and a payload is the same
 * size whatever point and number it has.
 */

/** The first number: all that follow have as many digits for a long time, and JSON allows no leading zeros. */
export const FIRST_NUMBER = 1_000_000_000;
export const NUMBER_DIGITS = 10;
/** What stands before the number in a payload that is the JSON of the data. */
export const NUMBER_AT = '{"value":'.length;

const POINT_DIGITS = 7;
const TIMESTAMP = '2026-01-15T10:00:00.000Z';

/** `point-0000012`. */
export function pointId(index: number): string {
  return `point-${String(index).padStart(POINT_DIGITS, '0')}`;
}

/** A body with this many values, of the points from `firstPoint` on, going round after `pointsCount`. */
export interface ValuesBody {
  bytes: Buffer;
  /** Where the digits of the first number are, and how far it is from one value to the next. */
  numberAt: number;
  strideBytes: number;
}

export interface BodyShape {
  valuesCount: number;
  pointsCount: number;
  /** Of the payload that is published: the data with the timestamp in it. */
  payloadSizeBytes: number;
}

export function encodeValues(shape: BodyShape, firstPoint: number): ValuesBody {
  const { valuesCount, pointsCount, payloadSizeBytes } = shape;
  const data = (unit: string): string => `{"value":${FIRST_NUMBER},"unit":"${unit}"}`;
  const bareSizeBytes = data('').length + `,"timestamp":"${TIMESTAMP}"`.length;
  const unit = 'a'.repeat(Math.max(0, payloadSizeBytes - bareSizeBytes));
  const head = `{"pointId":"${pointId(0)}","timestamp":"${TIMESTAMP}","data":`.length;
  const values = Array.from(
    { length: valuesCount },
    (_unused, index) =>
      `{"pointId":"${pointId((firstPoint + index) % pointsCount)}","timestamp":"${TIMESTAMP}","data":${data(unit)}}`,
  );
  return {
    bytes: Buffer.from(`[${values.join(',')}]`),
    numberAt: 1 + head + NUMBER_AT,
    strideBytes: (values[0]?.length ?? 0) + 1,
  };
}

/** Writes the digits of a number of `NUMBER_DIGITS` digits. */
export function writeNumber(bytes: Buffer, at: number, number: number): void {
  let rest = number;
  for (let index = at + NUMBER_DIGITS - 1; index >= at; index--) {
    bytes[index] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

/** Reads what `writeNumber` has written, counted from `FIRST_NUMBER`. */
export function readNumber(bytes: Buffer, at: number): number {
  let number = 0;
  for (let index = at; index < at + NUMBER_DIGITS; index++) number = number * 10 + (bytes[index]! - 0x30);
  return number - FIRST_NUMBER;
}

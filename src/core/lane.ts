/**
 * A lane is a FIFO of its own inside a connector. A higher lane never waits behind a lower one, so that an alert
 * does not stand in line behind a day of telemetry.
 */
export type Lane = 'command' | 'alert' | 'telemetry';

/** All lanes, highest first. */
export const LANES: readonly Lane[] = ['command', 'alert', 'telemetry'];

/** The number of a lane on disk and in arrays: 0 is the highest. It is part of the file format and never changes. */
export type LaneIndex = 0 | 1 | 2;

const INDEX_OF_LANE: Readonly<Record<Lane, LaneIndex>> = { command: 0, alert: 1, telemetry: 2 };

export function laneIndex(lane: Lane): LaneIndex {
  return INDEX_OF_LANE[lane];
}

/** The lane of a stored index; throws a RangeError for a number that no lane has. */
export function laneAt(index: number): Lane {
  const lane = LANES[index];
  if (lane === undefined) throw new RangeError(`There is no lane number ${index}.`);
  return lane;
}

export function isLane(value: unknown): value is Lane {
  return value === 'command' || value === 'alert' || value === 'telemetry';
}

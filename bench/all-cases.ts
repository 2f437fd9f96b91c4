import type { BenchCase } from './case.js';
import { alerts } from './cases/alerts.js';
import { backlog } from './cases/backlog.js';
import { growth } from './cases/growth.js';
import { idle } from './cases/idle.js';
import { mappings } from './cases/mappings.js';
import { qos0, qos1, qos2 } from './cases/qos.js';
import { roundTrip } from './cases/round-trip.js';
import { singleValues } from './cases/single-values.js';
import { soak } from './cases/soak.js';
import { topics } from './cases/topics.js';
import { windowSweep } from './cases/window-sweep.js';

/** In the order of the document. */
export const ALL_CASES: readonly BenchCase[] = [
  qos1,
  qos2,
  qos0,
  roundTrip,
  windowSweep,
  singleValues,
  alerts,
  backlog,
  growth,
  topics,
  mappings,
  idle,
  soak,
];

/** It takes an hour, so that it runs only when its name is given. */
const ON_DEMAND: readonly BenchCase[] = [soak];

/** The cases of these names in the order of the document; without a name, all that do not take an hour. */
export function casesNamed(names: readonly string[]): readonly BenchCase[] {
  const known = ALL_CASES.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new RangeError(`There is no case ${unknown.join(', ')}. There are: ${known.join(', ')}.`);
  return names.length === 0
    ? ALL_CASES.filter((each) => !ON_DEMAND.includes(each))
    : ALL_CASES.filter(({ name }) => names.includes(name));
}

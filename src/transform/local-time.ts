/** From what the clocks of a place show to the moment at which they show it. */
import type { DateTime, Zone } from 'luxon';
import { luxon } from '../core/calendar.js';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** Years of days; a file with more of them starts the memory anew. */
const DAYS_MAX = 10_000;

export class LocalClock {
  readonly #zone: Zone;
  /** For days on which the offset from UTC does not change, that offset; looking it up takes longer than all the rest. */
  readonly #offsetsMs = new Map<number, number | undefined>();

  /** @param timezone a valid name such as Europe/Paris, UTC or UTC+3. */
  constructor(timezone: string) {
    this.#zone = luxon().DateTime.utc().setZone(timezone).zone;
  }

  /**
   * The moment at which the clocks show what `local` shows in UTC. Where they show it twice, when summer time ends, it is
   * the first of the two: luxon would choose by today's season. Undefined for a time that they skip when summer time
   * begins; luxon would move it by an hour.
   */
  momentOf(local: DateTime): number | undefined {
    if (!local.isValid) return undefined;
    const offsetMs = this.#offsetOfDay(Math.floor(local.toMillis() / DAY_MS));
    if (offsetMs !== undefined) return local.toMillis() - offsetMs;
    const there = local.setZone(this.#zone, { keepLocalTime: true });
    if (there.toMillis() + there.offset * MINUTE_MS !== local.toMillis()) return undefined;
    return (there.getPossibleOffsets()[0] ?? there).toMillis();
  }

  #offsetOfDay(day: number): number | undefined {
    if (this.#offsetsMs.has(day)) return this.#offsetsMs.get(day);
    // Offsets are at most a day, so that these moments enclose the local day wherever it is.
    const [before, noon, after] = [-1, 0.5, 2].map((days) => this.#zone.offset((day + days) * DAY_MS));
    const offsetMs = before === noon && noon === after ? noon! * MINUTE_MS : undefined;
    if (this.#offsetsMs.size >= DAYS_MAX) this.#offsetsMs.clear();
    this.#offsetsMs.set(day, offsetMs);
    return offsetMs;
  }
}

/** Which messages of the run the cache still holds at its end, by what their records say of themselves. */
import type { Cache } from '../cache/cache.js';
import type { MessageState } from '../cache/store.js';
import type { Lane } from '../core/lane.js';
import { readRecord } from '../core/record.js';
import { readMessageText } from './numbered-message.js';

/** Each as `messageName` gives it. */
export interface KeptMessages {
  quarantined: ReadonlySet<string>;
  waiting: ReadonlySet<string>;
}

export const NOTHING_KEPT: KeptMessages = { quarantined: new Set(), waiting: new Set() };

const PAGE_COUNT = 1000;

/** `telemetry 17`. */
export function messageName(lane: Lane, number: number): string {
  return `${lane} ${number}`;
}

/** A count could hide one that is lost behind one that is not; the bytes on the disk cannot. */
export async function readKept(cache: Cache): Promise<KeptMessages> {
  return { quarantined: await namesOf(cache, 'quarantined'), waiting: await namesOf(cache, 'waiting') };
}

async function namesOf(cache: Cache, state: MessageState): Promise<Set<string>> {
  const names = new Set<string>();
  let after: string | undefined;
  do {
    const page = await cache.list({ state, limit: PAGE_COUNT, ...(after === undefined ? {} : { after }) });
    for (const { record, lane } of page.messages) {
      const payload = readRecord(record, 0)?.payload;
      const message = payload === undefined ? undefined : readMessageText(Buffer.from(payload).toString());
      // What cannot be read is not kept, and a message in another lane is not the one that was handed in.
      if (message?.lane === lane) names.add(messageName(lane, message.number));
    }
    after = page.cursor;
  } while (after !== undefined);
  return names;
}

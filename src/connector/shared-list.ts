/**
 * The messages of several parts as one list, and what is done to them.
 *
 * A page is merged from a page of each part: by lane, except for quarantine, then by time. The order within a part stays
 * as it is, so that pages follow each other without a gap. The cursor holds, for each part that has more, its own cursor
 * behind the last message that was given: `1:2.17,3:` means the first part from its lane 2 at offset 17 on, and the third
 * from its beginning.
 *
 * A quarantined message of the first part has the number that it has there; of another part, the part's number stands in
 * front of it: 2000000000017 is the message 17 of the second part.
 */
import type { ListPage, ListQuery, QuarantineQuery, StoredMessage } from '../cache/store.js';
import { NorthError } from '../core/error.js';
import { laneIndex } from '../core/lane.js';
import { FIRST_PART } from './sharing.js';

/** Numbers of quarantined messages in a part; sixteen such ranges fit into a safe integer. */
const ID_SPAN = 10 ** 12;

const PLACE_FORM = /^(\d{1,2}):(\d{1,15}|[0-2]\.\d{1,16})?$/;

/** One part with what can be asked of its messages. */
export interface ListedPart {
  readonly number: number;
  list(query: ListQuery): Promise<ListPage>;
  retry(which: QuarantineQuery, topic?: string): Promise<number>;
  remove(which: QuarantineQuery): Promise<number>;
}

/** Where a part's messages go on. */
interface Place {
  part: ListedPart;
  /** Undefined: at its beginning. */
  after: string | undefined;
}

export async function listShared(parts: readonly ListedPart[], query: ListQuery): Promise<ListPage> {
  const places = query.after === undefined ? beginningOf(parts) : readPlaces(parts, query.after);
  const { after: _, ...rest } = query;
  const pages = await Promise.all(
    places.map(async ({ part, after }) => {
      const page = await part.list(after === undefined ? rest : { ...rest, after });
      return { part, after, ...page, takenCount: 0 };
    }),
  );
  const messages: StoredMessage[] = [];
  const limit = Math.max(1, Math.trunc(query.limit) || 1);
  // What a part has behind the end of its page is not known, so that nothing may be put in front of it.
  while (messages.length < limit && !pages.some(isUsedUp)) {
    const next = firstOf(pages);
    const message = next === undefined ? undefined : headOf(next);
    if (next === undefined || message === undefined) break;
    next.takenCount++;
    messages.push({ ...message, id: message.id === undefined ? undefined : idOf(next.part.number, message.id) });
  }
  const left = pages.flatMap((page) => {
    const last = page.messages[page.takenCount - 1];
    if (page.takenCount < page.messages.length) {
      return [{ number: page.part.number, after: last === undefined ? page.after : cursorBehind(last) }];
    }
    return page.cursor === undefined ? [] : [{ number: page.part.number, after: page.cursor }];
  });
  const cursor = left.map(({ number, after = '' }) => `${number}:${after}`).join(',');
  return { messages, cursor: cursor === '' ? undefined : cursor };
}

/** Gives how many messages were moved. */
export function retryShared(parts: readonly ListedPart[], which: QuarantineQuery, topic?: string): Promise<number> {
  if (topic !== undefined && !('ids' in which && which.ids.length === 1)) {
    const text = 'A new topic is for exactly one message, which must be named by its id.';
    return Promise.reject(new NorthError('REQUEST_INVALID', text));
  }
  return inAll(parts, which, (part, own) => part.retry(own, topic));
}

export function removeShared(parts: readonly ListedPart[], which: QuarantineQuery): Promise<number> {
  return inAll(parts, which, (part, own) => part.remove(own));
}

async function inAll(
  parts: readonly ListedPart[],
  which: QuarantineQuery,
  act: (part: ListedPart, which: QuarantineQuery) => Promise<number>,
): Promise<number> {
  const counts = await Promise.all(
    parts.map((part) => {
      if (!('ids' in which)) return act(part, which);
      const ids = which.ids.filter((id) => partOfId(id) === part.number).map((id) => id % ID_SPAN);
      return ids.length === 0 ? 0 : act(part, { ids });
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

function idOf(part: number, id: number): number {
  return part === FIRST_PART ? id : part * ID_SPAN + id;
}

/** Undefined for a number that was never given: those of the first part have nothing in front of them. */
function partOfId(id: number): number | undefined {
  if (id < ID_SPAN) return FIRST_PART;
  const part = Math.floor(id / ID_SPAN);
  return part === FIRST_PART ? undefined : part;
}

type PartPage = Place & ListPage & { takenCount: number };

function headOf(page: PartPage): StoredMessage | undefined {
  return page.messages[page.takenCount];
}

/** The page whose next message comes first. */
function firstOf(pages: readonly PartPage[]): PartPage | undefined {
  return pages.reduce<PartPage | undefined>(
    (first, page) => (first === undefined || isBefore(headOf(page), headOf(first)) ? page : first),
    undefined,
  );
}

function isUsedUp(page: PartPage): boolean {
  return page.takenCount === page.messages.length && page.cursor !== undefined;
}

/** Of equals, the part with the lower number comes first, because it is looked at first. */
function isBefore(one: StoredMessage | undefined, other: StoredMessage | undefined): boolean {
  if (one === undefined || other === undefined) return one !== undefined;
  if (one.state === 'quarantined') return (one.atMs ?? 0) < (other.atMs ?? 0);
  const lanes = laneIndex(one.lane) - laneIndex(other.lane);
  return lanes === 0 ? one.acceptedAtMs < other.acceptedAtMs : lanes < 0;
}

/** As `cache/listing.ts` makes it for a page that ends with this message. */
function cursorBehind({ state, id, lane, offset }: StoredMessage): string {
  return state === 'quarantined' ? String(id) : `${laneIndex(lane)}.${(offset ?? 0) + 1}`;
}

function beginningOf(parts: readonly ListedPart[]): Place[] {
  return parts.map((part) => ({ part, after: undefined }));
}

function readPlaces(parts: readonly ListedPart[], cursor: string): Place[] {
  return cursor.split(',').flatMap((text) => {
    const match = PLACE_FORM.exec(text);
    if (match === null) throw new NorthError('REQUEST_INVALID', `"${cursor}" is not a cursor of this list.`);
    const part = parts.find(({ number }) => number === Number(match[1]));
    return part === undefined ? [] : [{ part, after: match[2] }];
  });
}

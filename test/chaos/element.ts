/** What each element of a run is and how it has to arrive: all of it follows from the name. */
import { isDeepStrictEqual } from 'node:util';

export const TIMESTAMP = '2026-01-15T10:00:00.000Z';
const POINTS_COUNT = 20;

/** What a subscriber gets of an element. */
export interface Arrival {
  topic: string;
  text: string;
  qos: number;
}

/** Names one element: `press/alert#17`. */
export function elementId(stream: string, seq: number): string {
  return `${stream}#${seq}`;
}

export function pointOf(name: string, seq: number): string {
  return `${name}-${seq % POINTS_COUNT}`;
}

/** Of different size, seldom large, and not two alike: a piece of another one would show. */
export function fillerOf(id: string): string {
  let hash = 0;
  for (const char of id) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) >>> 0;
  const size = hash % 100 === 0 ? 1000 + (hash % 19_000) : hash % 200;
  return id.repeat(Math.ceil(size / id.length)).slice(0, size);
}

/** The name in the payload, or undefined when there is none. */
export function idIn(text: string): string | undefined {
  try {
    const { id } = JSON.parse(text) as { id?: unknown };
    return typeof id === 'string' ? id : undefined;
  } catch {
    return undefined;
  }
}

/** Why what arrived under this name is not what was handed in, or undefined when it is. */
export function distortionOf(id: string, { topic, text, qos }: Arrival, qosWanted: number): string | undefined {
  const wanted = wantedOf(id);
  if (topic !== wanted.topic) return `${id} arrived with the topic ${topic}, not ${wanted.topic}`;
  if (qos !== qosWanted) return `${id} arrived at QoS ${qos}, not ${qosWanted}`;
  if (!isDeepStrictEqual(JSON.parse(text), wanted.payload)) return `${id} arrived as ${text.slice(0, 200)}`;
  return undefined;
}

function wantedOf(id: string): { topic: string; payload: unknown } {
  const at = id.lastIndexOf('#');
  const stream = id.slice(0, at);
  const seq = Number(id.slice(at + 1));
  const [name = ''] = stream.split('/');
  if (name.startsWith('rows-')) return { topic: 'chaos/rows', payload: { id } };
  if (name !== 'furnace') return { topic: `chaos/${stream}`, payload: { id, filler: fillerOf(id) } };
  return { topic: `chaos/furnace/${pointOf(name, seq)}`, payload: { value: seq, id, timestamp: TIMESTAMP } };
}

/** Brings a part of a YAML document to a new value, and leaves alone what stays: comments, order, quotes, anchors. */
import { isDeepStrictEqual } from 'node:util';
import {
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { isRecord } from './shape.js';

/** Keys by which an entry of a list is known again when others were added or removed. */
const IDENTITIES = ['id', 'pointId', 'reference', 'key', 'name'];

/** Gives the node that stands for `value`: `node` itself, changed as little as possible, or a new one. */
export function mergeNode(document: Document, node: unknown, value: unknown): Node {
  if (isNode(node) && isDeepStrictEqual(node.toJS(document), value)) return node;
  if (isMap(node) && isRecord(value)) return mergeMap(document, node, value);
  if (isSeq(node) && Array.isArray(value)) return mergeList(document, node, value);
  if (isScalar(node) && (typeof value !== 'object' || value === null)) {
    node.value = value;
    return node;
  }
  const created = document.createNode(value);
  if (isNode(node) && !isScalar(created)) {
    created.commentBefore = node.commentBefore ?? null;
    created.comment = node.comment ?? null;
  }
  return created;
}

function mergeMap(document: Document, map: YAMLMap, value: Record<string, unknown>): YAMLMap {
  map.items = map.items.filter((pair) => isPair(pair) && Object.hasOwn(value, keyText(pair)));
  for (const [key, element] of Object.entries(value)) {
    if (element === undefined) continue;
    const pair = map.items.find((item) => keyText(item) === key);
    if (pair === undefined) map.items.push(document.createPair(key, element) as Pair);
    else pair.value = mergeNode(document, pair.value, element);
  }
  return map;
}

function keyText(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function mergeList(document: Document, list: YAMLSeq, values: readonly unknown[]): YAMLSeq {
  const left = new Set(list.items.filter(isNode));
  const take = (fits: (node: Node) => boolean): Node | undefined => {
    const found = [...left].find(fits);
    if (found !== undefined) left.delete(found);
    return found;
  };
  // First what is unchanged, then what has the same identity, so that a removed entry does not shift the comments.
  const same = values.map((value) => take((node) => isDeepStrictEqual(node.toJS(document), value)));
  const known = values.map(
    (value, index) => same[index] ?? take((node) => hasSameIdentity(node.toJS(document), value)),
  );
  list.items = values.map((value, index) => {
    const node = known[index] ?? (isRecord(value) ? undefined : take(() => true));
    return mergeNode(document, node, value);
  });
  return list;
}

function hasSameIdentity(one: unknown, other: unknown): boolean {
  if (!isRecord(one) || !isRecord(other)) return false;
  const identity = IDENTITIES.find((key) => other[key] !== undefined);
  return identity === undefined ? one.type === other.type : one[identity] === other[identity];
}

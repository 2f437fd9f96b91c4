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
  const nodes = list.items.filter(isNode).map((node) => ({ node, value: node.toJS(document) as unknown }));
  const left = new Set<Node>(nodes.map(({ node }) => node));
  // First what is unchanged, then what has the same identity, so that a removed entry does not shift the comments.
  const found: (Node | undefined)[] = values.map(() => undefined);
  for (const keyOf of [contentKey, identityKey]) {
    const known = new Map<string, Node[]>();
    for (const { node, value } of nodes) {
      const key = left.has(node) ? keyOf(value) : undefined;
      if (key !== undefined) known.set(key, [...(known.get(key) ?? []), node]);
    }
    for (const [index, value] of values.entries()) {
      const key = found[index] === undefined ? keyOf(value) : undefined;
      const node = key === undefined ? undefined : known.get(key)?.shift();
      if (node === undefined) continue;
      found[index] = node;
      left.delete(node);
    }
  }
  list.items = values.map((value, index) => mergeNode(document, found[index], value));
  return list;
}

function contentKey(value: unknown): string {
  return JSON.stringify(value) ?? '';
}

function identityKey(value: unknown): string | undefined {
  if (!isRecord(value)) return undefined;
  const name = IDENTITIES.find((key) => value[key] !== undefined) ?? 'type';
  return JSON.stringify([name, value[name]]);
}

/**
 * What a zod schema allows, as JSON Schema, so that values and declarations can be walked side by side: to find where
 * secrets and paths stand, which keys are known at a place, and what a key is for. Also the public JSON Schemas.
 */
import { z } from 'zod';

/** The part of JSON Schema that our declarations use, with our own marks. */
export interface Shape {
  type?: string;
  description?: string;
  properties?: Readonly<Record<string, Shape>>;
  required?: readonly string[];
  additionalProperties?: boolean | Shape;
  items?: Shape;
  anyOf?: readonly Shape[];
  oneOf?: readonly Shape[];
  allOf?: readonly Shape[];
  enum?: readonly unknown[];
  const?: unknown;
  default?: unknown;
  $ref?: string;
  $defs?: Readonly<Record<string, Shape>>;
  /** A secret: see `secret()`. */
  writeOnly?: boolean;
  /** A path: see `filePath()`. */
  'x-path'?: boolean;
  'x-default'?: string;
  'x-unit'?: 'ms' | 's' | 'bytes';
  pattern?: string;
  minimum?: number;
  maximum?: number;
}

export type Path = readonly (string | number)[];

const shapes = new WeakMap<z.ZodType, Shape>();

/** The shape of what is written for `schema`, before defaults and conversions. Made once per schema. */
export function shapeOf(schema: z.ZodType): Shape {
  let shape = shapes.get(schema);
  if (shape === undefined) {
    // JSON Schema as zod writes it is a superset of what `Shape` names; every field is optional and checked on use.
    shape = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Shape;
    shapes.set(schema, shape);
  }
  return shape;
}

/** The alternatives of a shape that fit `value`, as far as their constant keys (`type: basic`) tell; all if none does. */
export function alternatives(root: Shape, shape: Shape, value: unknown): Shape[] {
  const all = flatten(root, shape, 0);
  const fitting = all.filter((alternative) => constantsFit(alternative, value));
  return fitting.length > 0 ? fitting : all;
}

function flatten(root: Shape, shape: Shape, depth: number): Shape[] {
  if (depth > 20) return [];
  if (shape.$ref !== undefined) {
    const target = shape.$ref === '#' ? root : root.$defs?.[shape.$ref.replace(/^#\/\$defs\//, '')];
    return target === undefined ? [] : flatten(root, target, depth + 1);
  }
  const nested = [...(shape.anyOf ?? []), ...(shape.oneOf ?? []), ...(shape.allOf ?? [])];
  return nested.length === 0 ? [shape] : nested.flatMap((one) => flatten(root, one, depth + 1));
}

function constantsFit(shape: Shape, value: unknown): boolean {
  if (!isRecord(value)) return true;
  return Object.entries(shape.properties ?? {}).every(
    ([key, property]) => property.const === undefined || property.const === value[key],
  );
}

/** The shapes that hold for one key or index of `value`. */
export function childShapes(root: Shape, parents: readonly Shape[], value: unknown, key: string | number): Shape[] {
  const children: Shape[] = [];
  for (const parent of parents.flatMap((shape) => alternatives(root, shape, value))) {
    if (typeof key === 'number') {
      if (parent.items !== undefined) children.push(parent.items);
    } else if (parent.properties !== undefined && Object.hasOwn(parent.properties, key)) {
      children.push(parent.properties[key]!);
    } else if (typeof parent.additionalProperties === 'object') {
      children.push(parent.additionalProperties);
    }
  }
  return children;
}

/** The shapes that hold at `path` below `value`. */
export function shapesAt(root: Shape, value: unknown, path: Path): Shape[] {
  let shapes: Shape[] = [root];
  let current = value;
  for (const key of path) {
    shapes = childShapes(root, shapes, current, key);
    current = valueAt(current, [key]);
  }
  return shapes;
}

export function valueAt(value: unknown, path: Path): unknown {
  let current = value;
  for (const key of path) {
    if (Array.isArray(current) && typeof key === 'number') current = current[key];
    else if (isRecord(current) && Object.hasOwn(current, key)) current = current[key];
    else return undefined;
  }
  return current;
}

export interface TextField {
  path: Path;
  isSecret: boolean;
  isPath: boolean;
}

/**
 * A copy of `value` in which every text is replaced by what `replace` gives for it. A section or list with nothing in
 * it, as commenting out all of its lines leaves it, is left out. A part that contains itself, as a YAML alias can make
 * one, becomes null there.
 */
export function mapTexts(shape: Shape, value: unknown, replace: (text: string, field: TextField) => unknown): unknown {
  const ancestors = new Set<object>();
  const copy = (current: unknown, shapes: readonly Shape[], path: Path): unknown => {
    if (typeof current === 'string') {
      const leaves = shapes.flatMap((one) => [one, ...flatten(shape, one, 0)]);
      const isSecret = leaves.some((leaf) => leaf.writeOnly === true);
      return replace(current, { path, isSecret, isPath: leaves.some((leaf) => leaf['x-path'] === true) });
    }
    if (current === null && shapes.length > 0 && shapes.every((one) => isContainer(shape, one))) return undefined;
    if (typeof current !== 'object' || current === null) return current;
    if (ancestors.has(current)) return null;
    ancestors.add(current);
    const child = (element: unknown, key: string | number) =>
      copy(element, childShapes(shape, shapes, current, key), [...path, key]);
    const copied = Array.isArray(current) ? current.map(child) : copyRecord(current, child);
    ancestors.delete(current);
    return copied;
  };
  return copy(value, [shape], []);
}

function isContainer(root: Shape, shape: Shape): boolean {
  return flatten(root, shape, 0).every(({ type }) => type === 'object' || type === 'array');
}

function copyRecord(record: object, child: (element: unknown, key: string) => unknown): Record<string, unknown> {
  const copied: Record<string, unknown> = {};
  for (const [key, element] of Object.entries(record)) {
    // Plain assignment would take a key named __proto__ for the prototype, and the unknown key would go unseen.
    const value = child(element, key);
    if (value === undefined) continue;
    Object.defineProperty(copied, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return copied;
}

/** `connectors[0].settings.qos`; keys that are no plain words are quoted. The root is the empty string. */
export function formatPath(path: Path): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(key)) text += text === '' ? key : `.${key}`;
    else text += `[${JSON.stringify(key)}]`;
  }
  return text;
}

/** The reverse of `formatPath`, for the paths that it writes. */
export function parsePath(text: string): Path {
  const steps = text.matchAll(/\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|[^.[\]]+/g);
  return [...steps].map(([word, index, quoted]) => {
    if (index !== undefined) return Number(index);
    return quoted === undefined ? word : String(JSON.parse(quoted));
  });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

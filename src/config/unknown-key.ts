/** What was probably meant by a key that means nothing where it stands. */
import { nearMiss } from './near-miss.js';
import { alternatives, type Path, type Shape, shapesAt, valueAt } from './shape.js';

/** What other tools call an option of ours, where the names are too far apart to be a slip of the pen. */
const SYNONYMS: Readonly<Record<string, string>> = {
  address: 'url',
  broker: 'url',
  host: 'url',
  hostname: 'url',
  server: 'url',
  uri: 'url',
  login: 'username',
  user: 'username',
  pass: 'password',
  ca: 'caFilePath',
  cafile: 'caFilePath',
  cert: 'certFilePath',
  certfile: 'certFilePath',
  key: 'keyFilePath',
  keyfile: 'keyFilePath',
  insecure: 'rejectUnauthorized',
  clean: 'persistent',
  cleansession: 'persistent',
  cleanstart: 'persistent',
  lastwill: 'will',
  lwt: 'will',
  expiry: 'messageExpiry',
  prefix: 'topicPrefix',
};

/** Those of them that say the reverse. */
const OPPOSITES: ReadonlySet<string> = new Set(['insecure', 'clean', 'cleansession', 'cleanstart']);

/** A sentence for the key `key` of the section at `path`; only names of our own keys are repeated. */
export function unknownKeyHint(root: Shape, value: unknown, path: Path, key: string): string {
  const shapes = shapesAt(root, value, path);
  const fitting = shapes.flatMap((shape) => alternatives(root, shape, valueAt(value, path)));
  const known = [...new Set(fitting.flatMap((shape) => Object.keys(shape.properties ?? {})))];

  const otherType = typeThatHas(
    shapes.flatMap((shape) => alternatives(root, shape, undefined)),
    key,
  );
  if (otherType !== undefined) return `It belongs to ${otherType}.`;
  const here = nearestPlace(root, key, path);
  if (here !== undefined) return `It belongs to ${here}.`;
  const near = nearMiss(key, known);
  if (near !== undefined) return `Did you mean ${near}?`;
  const folded = key.toLowerCase().replaceAll(/[-_]/g, '');
  const synonym = Object.hasOwn(SYNONYMS, folded) ? SYNONYMS[folded] : undefined;
  if (synonym !== undefined) {
    const meant = known.includes(synonym) ? synonym : nearestPlace(root, synonym, path);
    if (meant !== undefined) return `Did you mean ${meant}${OPPOSITES.has(folded) ? ', which says the reverse' : ''}?`;
  }
  const far = key.length > 4 ? nearMiss(key, placesOf(root).keys()) : undefined;
  const place = far === undefined ? undefined : nearestPlace(root, far, path);
  if (place !== undefined) return `Did you mean ${place}?`;
  return known.length === 0 ? 'Remove it.' : `Known here: ${known.sort().join(', ')}.`;
}

/** `type: basic`, when the section would have the key under that type. */
function typeThatHas(shapes: readonly Shape[], key: string): string | undefined {
  const shape = shapes.find(({ properties = {} }) => Object.hasOwn(properties, key));
  const constant = Object.entries(shape?.properties ?? {}).find(([, property]) => property.const !== undefined);
  return constant === undefined ? undefined : `${constant[0]}: ${String(constant[1].const)}`;
}

const LIST = '[]';
const places = new WeakMap<Shape, Map<string, string[][]>>();

/** Every key of a shape with the paths that lead to it. */
function placesOf(root: Shape): Map<string, string[][]> {
  const known = places.get(root);
  if (known !== undefined) return known;
  const found = new Map<string, string[][]>();
  const visit = (shape: Shape, path: readonly string[]) => {
    if (path.length > 12) return;
    for (const alternative of alternatives(root, shape, undefined)) {
      if (alternative.items !== undefined) visit(alternative.items, [...path, LIST]);
      for (const [key, property] of Object.entries(alternative.properties ?? {})) {
        const place = [...path, key];
        const list = found.get(key) ?? [];
        if (list.some((other) => other.join('.') === place.join('.'))) continue;
        found.set(key, [...list, place]);
        visit(property, place);
      }
    }
  };
  visit(root, []);
  places.set(root, found);
  return found;
}

/** Where `key` has a meaning, at most three sections up or down from the section `from`; undefined when nowhere. */
function nearestPlace(root: Shape, key: string, from: Path): string | undefined {
  const here = from.map((step) => (typeof step === 'number' ? LIST : step));
  let best: { section: string[]; shared: number; steps: number } | undefined;
  for (const place of placesOf(root).get(key) ?? []) {
    const section = place.slice(0, -1);
    let shared = 0;
    while (shared < here.length && shared < section.length && section[shared] === here[shared]) shared++;
    const steps = here.length + section.length - 2 * shared;
    if (steps > 0 && steps <= 3 && steps < (best?.steps ?? 4)) best = { section, shared, steps };
  }
  if (best === undefined) return undefined;
  const { section, shared } = best;
  if (section.length === 0) return `${key} at the top level`;
  // Inside the same entry of a list, the way from there says enough.
  const entry = section.lastIndexOf(LIST) + 1;
  const shown = shared >= entry && entry < section.length ? section.slice(entry) : section;
  return [...shown, key].join('.').replaceAll(`.${LIST}`, LIST);
}

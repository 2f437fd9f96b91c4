/** docs/configuration.md, made from the declarations of the options. */
import { configSchema } from './config.js';
import { type Shape, shapeOf } from './shape.js';
import { formatDuration, formatSize } from './units.js';

interface Section {
  path: string;
  shape: Shape;
}

const INTRODUCTION = `# Configuration

One file, YAML or JSON: \`./mqtt-north.yaml\`, or the one given with \`-c\`. \`mqtt-north init\` writes a commented one to
start from, and \`mqtt-north check\` tells every problem with its line. Only what has no default must be written. Keys
that are not listed here are errors.

Editors complete and check the file with \`schema/mqtt-north.schema.json\`; for YAML put
\`# yaml-language-server: $schema=…\` into the first line, for JSON the key \`$schema\`.

**Times** are written as \`500 ms\`, \`10 s\`, \`5 min\`, \`72 h\`, \`30 d\`. A bare number is milliseconds, except where the
table says seconds. **Sizes** are written as \`512 KiB\`, \`64 MiB\`, \`10 GiB\`, \`10 GB\`; a bare number is bytes.
**Paths** that are relative count from the folder of the configuration file.

**Secrets** need not stand in the file. \`\${NAME}\` in any text is replaced by the environment variable of that name
(\`$\${NAME}\` stays \`\${NAME}\`). A secret as a whole may also be \`file:/run/secrets/name\`, the content of a file without
its last line end, or \`secret:NAME\`, one that was stored through the API or the console: encrypted in \`secrets.json\` in
the data directory, with the key from \`MQTT_NORTH_KEY\` (32 bytes in base64 or hexadecimal) or, when that is not set, from
\`~/.config/mqtt-north/key\`. Keep a copy of the key apart from the data.
`;

/** The whole document. The same declarations always give the same text. */
export function renderConfigurationReference(): string {
  const sections: Section[] = [];
  collect(shapeOf(configSchema), '', sections);
  return `${INTRODUCTION}\n${sections.map(renderSection).join('\n')}`;
}

/** A section for each object, parents before children. */
function collect(shape: Shape, path: string, sections: Section[]): void {
  const variants = alternativesOf(shape);
  const [only] = variants;
  if (variants.length > 1 && variants.every((variant) => variant.properties !== undefined)) {
    sections.push({ path, shape: { ...describe(shape), oneOf: variants } });
    for (const variant of variants) collectChildren(variant, path, variants, sections);
  } else if (only?.properties !== undefined) {
    sections.push({ path, shape: { ...only, ...describe(shape) } });
    collectChildren(only, path, [only], sections);
  }
}

function collectChildren(shape: Shape, path: string, variants: readonly Shape[], sections: Section[]): void {
  for (const [key, property] of Object.entries(shape.properties ?? {})) {
    const place = placeOf(path, key, shape, variants);
    const target = property.items === undefined ? property : { ...property.items, ...describe(property) };
    const targetPath = property.items === undefined ? place : `${place}[]`;
    if (!sections.some((section) => section.path === targetPath)) collect(target, targetPath, sections);
  }
}

/** `transformers[].topic`; with the type where the key means something else under another type. */
function placeOf(path: string, key: string, shape: Shape, variants: readonly Shape[]): string {
  if (path === '') return key;
  const text = JSON.stringify(shape.properties?.[key]);
  const isUnique = variants.every(({ properties }) => [undefined, text].includes(JSON.stringify(properties?.[key])));
  const type = String(shape.properties?.type?.const);
  return isUnique ? `${path}.${key}` : `${path.replace(/\[\]$/, '')}[${type}].${key}`;
}

function describe({ description }: Shape): { description?: string } {
  return description === undefined ? {} : { description };
}

function alternativesOf(shape: Shape): readonly Shape[] {
  const nested = shape.oneOf ?? shape.anyOf;
  return nested === undefined ? [shape] : nested.flatMap(alternativesOf);
}

function renderSection({ path, shape }: Section): string {
  const title = path === '' ? 'Top level' : `\`${path}\``;
  const description = path === '' || shape.description === undefined ? [] : [shape.description];
  const variants = shape.oneOf;
  if (variants === undefined) return join([`## ${title}`, ...description, renderTable(shape, path, [shape], noKeys)]);
  const shared = sharedKeys(variants);
  const parts = variants.flatMap((variant) => {
    const type = variant.properties?.type;
    const about = type?.description ?? variant.description;
    const heading = `### ${title} with \`type: ${String(type?.const)}\``;
    return [heading, ...(about === undefined ? [] : [about]), renderTable(variant, path, variants, shared)];
  });
  const [first = {}] = variants;
  const own = new Set(Object.keys(first.properties ?? {}).filter((key) => !shared.has(key)));
  const common = shared.size === 0 ? [] : ['For every type:', renderTable(first, path, variants, own)];
  return join([`## ${title}`, ...description, ...common, ...parts]);
}

const noKeys: ReadonlySet<string> = new Set();

function join(parts: readonly string[]): string {
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

/** Keys that every variant has with the same meaning, so that they are shown once. */
function sharedKeys(variants: readonly Shape[]): Set<string> {
  const [first, ...others] = variants;
  const keys = Object.entries(first?.properties ?? {}).filter(
    ([key, property]) =>
      property.const === undefined &&
      others.every((other) => JSON.stringify(other.properties?.[key]) === JSON.stringify(property)),
  );
  return new Set(keys.map(([key]) => key));
}

function renderTable(shape: Shape, path: string, variants: readonly Shape[], without: ReadonlySet<string>): string {
  const properties = Object.entries(shape.properties ?? {}).filter(
    ([key, property]) => !without.has(key) && property.const === undefined,
  );
  if (properties.length === 0) return '';
  const rows = properties.map(([key, property]) => {
    const isRequired = shape.required?.includes(key) === true;
    const place = placeOf(path, key, shape, variants);
    const cells = [`\`${key}\``, valuesOf(property, place), defaultOf(property, isRequired), descriptionOf(property)];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return ['| key | values | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

function descriptionOf(property: Shape): string {
  return property.description ?? alternativesOf(property)[0]?.description ?? '';
}

function defaultOf(property: Shape, isRequired: boolean): string {
  if (isRequired) return '**required**';
  if (property['x-default'] !== undefined) return property['x-default'];
  const value = property.default;
  if (value === undefined) return '–';
  if (typeof value !== 'object' || value === null) return value === '' ? 'empty' : `\`${String(value)}\``;
  if (Object.keys(value).length === 0) return Array.isArray(value) ? 'none' : '–';
  if (Array.isArray(value)) return `\`[${value.join(', ')}]\``;
  return Object.entries(value)
    .map(([key, text]) => `\`${key}: ${String(text)}\``)
    .join(', ');
}

function valuesOf(property: Shape, place: string): string {
  if (property.items !== undefined) {
    const items = alternativesOf(property.items);
    if (items.some((item) => item.properties !== undefined))
      return `list of sections: [\`${place}[]\`](${anchorOf(`${place}[]`)})`;
    return `list of ${valuesOf(property.items, place)}`;
  }
  const variants = alternativesOf(property);
  if (variants.some((variant) => variant.properties !== undefined))
    return `section: [\`${place}\`](${anchorOf(place)})`;
  const quantity = variants.find((variant) => variant['x-unit'] !== undefined);
  const words = variants.filter((variant) => variant !== quantity && !isTextOf(variant, quantity)).map(wordOf);
  return [...new Set([...words, ...(quantity === undefined ? [] : [quantityOf(quantity)])])].join(' or ');
}

/** A quantity may be written as a text with a unit; that is not an alternative of its own. */
function isTextOf(variant: Shape, quantity: Shape | undefined): boolean {
  return quantity !== undefined && variant.type === 'string' && variant.pattern !== undefined;
}

function wordOf(shape: Shape): string {
  if (shape.const !== undefined) return `\`${String(shape.const)}\``;
  if (shape.enum !== undefined) return [...new Set(shape.enum.map((value) => `\`${String(value)}\``))].join(', ');
  if (shape.writeOnly === true) return 'secret';
  if (shape['x-path'] === true) return 'path';
  switch (shape.type) {
    case 'boolean':
      return '`true`, `false`';
    case 'integer':
    case 'number':
      return rangeOf(shape);
    case 'array':
      return `list of ${valuesOf(shape.items ?? {}, '')}`;
    case 'object':
      return 'names with texts';
    default:
      return 'text';
  }
}

function rangeOf({ type, minimum, maximum }: Shape): string {
  const kind = type === 'integer' ? 'whole number' : 'number';
  // An integer without a limit of its own carries that of exact numbers, which says nothing to a reader.
  const isBounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  if (minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER) return kind;
  return isBounded ? `${kind}, ${minimum}–${maximum}` : `${kind}, ${minimum} or more`;
}

function quantityOf(shape: Shape): string {
  const { minimum = 0, maximum = 0 } = shape;
  const from = (format: (value: number) => string) => (minimum === 0 ? '0' : format(minimum));
  if (shape['x-unit'] === 'bytes') return `size, ${from(formatSize)}–${formatSize(maximum)}`;
  if (shape['x-unit'] === 'ms') return `time, ${from(formatDuration)}–${formatDuration(maximum)}`;
  return `time in seconds, ${minimum}–${maximum} s`;
}

/** As the usual renderers make it from a heading. */
function anchorOf(path: string): string {
  return `#${path.toLowerCase().replaceAll(/[^a-z0-9_-]/g, '')}`;
}

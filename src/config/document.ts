/**
 * The text of a configuration as a document: its plain value, its syntax problems, and where each part of it stands.
 * JSON is read by the same parser, because YAML contains it.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import type { Finding, Place } from './problem.js';
import type { Path } from './shape.js';

/** A larger file is no configuration, and would only take memory. */
export const CONFIG_SIZE_MAX_BYTES = 16 * 1024 ** 2;

/** Aliases of aliases may stand for more text than memory holds. */
const ALIAS_COUNT_MAX = 100;
/** In pairs and collections, far more than any option of ours needs. */
const DEPTH_MAX = 200;

const TOO_DEEP = ['is nested too deeply', 'Remove brackets, braces or levels of indentation.'] as const;
const TOO_MANY_ALIASES = ['refers to itself, or to too many aliases', 'Write it out, without & and *.'] as const;

export interface ConfigDocument {
  document: Document.Parsed;
  /** Undefined when the text is too broken to have one. */
  value: unknown;
  findings: readonly (Finding & { place: Place })[];
  /** Of the value at the path, or of its key; of the nearest section around it when there is no such value. */
  placeOf(path: Path, isAtKey: boolean): Place;
}

/** Throws for no text, whatever it is. */
export function parseConfigText(text: string): ConfigDocument {
  const lines = new LineCounter();
  const findings: (Finding & { place: Place })[] = [];
  const report: Report = (offset, message, hint) => {
    findings.push({ severity: 'error', code: 'CONFIG_SYNTAX', path: [], message, hint, place: placeAt(lines, offset) });
  };

  let document = parseDocument('');
  let value: unknown;
  try {
    // With a log level below "error" the parser would pass over a second document.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, logLevel: 'error' });
    for (const error of document.errors) report(error.pos[0], ...describeSyntax(error.code));
    if (document.errors.length === 0) reviewNodes(document, report);
    if (findings.length === 0) value = document.toJS({ maxAliasCount: ALIAS_COUNT_MAX });
  } catch (error) {
    // A nesting of many thousand levels exhausts the stack, and aliases of aliases exceed their count.
    if (error instanceof RangeError) report(0, ...TOO_DEEP);
    else if (error instanceof ReferenceError) report(0, ...TOO_MANY_ALIASES);
    else throw error;
  }
  return {
    document,
    value,
    findings,
    placeOf: (path, isAtKey) => placeAt(lines, offsetOf(document, path, isAtKey)),
  };
}

type Report = (offset: number, message: string, hint: string) => void;

/** What the parser lets pass: an alias without an anchor, and a nesting that would exhaust the stack of what follows. */
function reviewNodes(document: Document.Parsed, report: Report): void {
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return undefined;
      report(startOf(alias) ?? 0, ...describeSyntax('BAD_ALIAS'));
      return visit.BREAK;
    },
    Collection(_key, collection, path) {
      if (path.length <= DEPTH_MAX) return undefined;
      report(startOf(collection) ?? 0, ...TOO_DEEP);
      return visit.BREAK;
    },
  });
}

function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function offsetOf(document: Document.Parsed, path: Path, isAtKey: boolean): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, key] of path.entries()) {
    while (isAlias(node)) node = node.resolve(document);
    let child: unknown;
    if (isSeq(node)) {
      child = node.items[Number(key)];
    } else if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && keyText(item.key) === String(key));
      if (pair === undefined) return offset;
      const keyOffset = startOf(pair.key);
      const isLast = depth === path.length - 1;
      // A section is shown by its key, as its first line below the key says nothing.
      offset = keyOffset ?? offset;
      if (isLast && isAtKey) return offset;
      child = pair.value;
      if (isLast && !isMap(child) && !isSeq(child)) return startOf(child) ?? offset;
    }
    if (child === undefined) return offset;
    if (isSeq(node)) offset = startOf(child) ?? offset;
    node = child;
  }
  return offset;
}

function keyText(key: unknown): string {
  // A key that is a section itself is written out by the parser; its value as an object may have no text.
  return isScalar(key) ? String(key.value) : String(key);
}

function startOf(node: unknown): number | undefined {
  const range = isNode(node) ? (node as Node).range : undefined;
  return range?.[0];
}

/** The parser's own messages quote the text, and the text may be a password; so each code gets our words. */
function describeSyntax(code: string): [message: string, hint: string] {
  const known = SYNTAX[code];
  return known ?? ['is not valid YAML here', 'Compare the line with the ones around it: colons, quotes, indentation.'];
}

const SYNTAX: Readonly<Record<string, [message: string, hint: string]>> = {
  BAD_ALIAS: ['refers to an anchor that does not exist', 'A text that begins with * or & must be in quotes.'],
  BAD_DQ_ESCAPE: ['has an unknown escape in a quoted text', "Double the backslash, or use single quotes: 'C:\\certs'."],
  BAD_INDENT: [
    'is not indented like the lines it belongs to',
    'Use the same number of spaces for keys of one section.',
  ],
  BAD_SCALAR_START: ['begins with a character that has a meaning in YAML', 'Put the text in quotes.'],
  BLOCK_AS_IMPLICIT_KEY: ['has a second colon where a value is expected', 'Put the text in quotes, or break the line.'],
  BLOCK_IN_FLOW: ['has an indented section inside braces or brackets', 'Write all of it in one of the two styles.'],
  DUPLICATE_KEY: ['has a key that is already in this section', 'Remove one of the two.'],
  MISSING_CHAR: ['lacks a closing quote, bracket, brace, or a comma or colon', 'Look at this line and the one above.'],
  MULTILINE_IMPLICIT_KEY: ['lacks a colon, or has a key over several lines', 'Write "key: value" with a space.'],
  MULTIPLE_DOCS: ['begins a second document', 'Remove the line "---" and what follows.'],
  TAB_AS_INDENT: ['is indented with a tab', 'Use spaces.'],
  TAG_RESOLVE_FAILED: ['has a tag (!) that is not known', 'A text that begins with ! must be in quotes.'],
  UNEXPECTED_TOKEN: ['has something that does not belong here', 'Put a text with special characters in quotes.'],
};

/** `mqtt-north import oibus`: a North MQTT connector of OIBus as a configuration of ours. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { Document, isMap, isSeq, type Node } from 'yaml';
import { createFile } from '../config/atomic-file.js';
import { readConfig } from '../config/loading.js';
import { problemText } from '../config/problem.js';
import { isRecord, parsePath } from '../config/shape.js';
import { errorText, NorthError } from '../core/error.js';
import { type ConvertedConnector, convertConnector, type ImportNote, PLACEHOLDER } from './oibus-connector.js';
import { inShort, nameOf, readOibusExport } from './oibus-export.js';
import { output, printable, notes as progress, writeJson } from './terminal.js';
import { transformerErrors } from './transformer-check.js';

/** Of a file of which nothing can be carried over, so many reasons are told. */
const REASONS_SHOWN_MAX = 5;

interface ImportOptions {
  output?: string;
  json?: boolean;
}

export function registerImport(program: Command): void {
  const importing = program.command('import').description('turn the configuration of another product into ours');
  importing
    .command('oibus')
    .description('a North MQTT connector of OIBus, or all of a whole configuration, as YAML')
    .argument('<file>', 'the exported JSON; - for stdin')
    .option('-o, --output <file>', 'write to this file, which must be new, instead of stdout')
    .option('--json', 'print configuration and notes as JSON')
    .addHelpText(
      'after',
      '\nWhat could not be carried over goes to stderr. Passwords are encrypted by OIBus and never are.',
    )
    .action((file: string, options: ImportOptions) => importOibus(file, options));
}

export interface Imported {
  config: Record<string, unknown>;
  notes: readonly ImportNote[];
}

function importOibus(file: string, options: ImportOptions): void {
  const imported = convertOibus(readInput(file));
  const yaml = render(imported);
  if (options.output !== undefined) writeNew(options.output, yaml);
  if (options.json === true) writeJson(imported);
  else if (options.output === undefined) output.write(yaml);
  if (options.json !== true) printNotes(imported.notes, options.output);
}

/** Converts an export. The result passes `check`: what it would refuse is left out and noted. */
export function convertOibus(text: string): Imported {
  const { connectors, others, transformers } = readOibusExport(text);
  const notes: ImportNote[] = others.map((other) => ({
    connector: other,
    part: 'type',
    message: 'It is no MQTT connector and is left out.',
  }));
  const converted: ConvertedConnector[] = [];
  for (const entry of connectors) {
    try {
      const takenIds = new Set(converted.map(({ connector }) => connector.id));
      const result = convertConnector(entry, transformers, takenIds);
      converted.push(result);
      notes.push(...result.notes);
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      notes.push({ connector: nameOf(entry), part: 'settings.url', message: `Left out: ${error.message}` });
    }
  }
  const config = leaveOutInvalid({ connectors: converted.map(({ connector }) => connector) }, notes);
  if (Array.isArray(config.connectors) && config.connectors.length > 0) return { config, notes };
  const reasons = notes
    .slice(0, REASONS_SHOWN_MAX)
    .map(({ connector, message }) => `${inShort(connector)}: ${message}`)
    .join(' ');
  const rest = notes.length > REASONS_SHOWN_MAX ? ` There are ${notes.length - REASONS_SHOWN_MAX} more reasons.` : '';
  const problem = `There is no MQTT connector that could be carried over. ${reasons}${rest}`;
  throw new NorthError('IMPORT_UNREADABLE', problem);
}

/** Removes the smallest part around each error until there is none; each round removes at least one. */
function leaveOutInvalid(config: Record<string, unknown>, notes: ImportNote[]): Record<string, unknown> {
  for (;;) {
    const loaded = readConfig(JSON.stringify(config), 'import.json', { env: {} });
    const [error] = [...loaded.errors, ...transformerErrors(loaded)];
    if (error === undefined) return config;
    const path = parsePath(error.path);
    const [, index, , position] = path;
    const list: unknown = config.connectors;
    const connector: unknown = Array.isArray(list) ? list[Number(index)] : undefined;
    if (!Array.isArray(list) || !isRecord(connector)) throw new NorthError('IMPORT_UNREADABLE', problemText(error));
    const note = {
      connector: nameOf(connector),
      part: error.path,
      message: `Left out. ${/^[A-Z]/.test(error.message) ? error.message : `It ${error.message}.`}`,
    };
    notes.push(note);
    const transformers: unknown = path[2] === 'transformers' ? connector.transformers : undefined;
    const transformer: unknown = Array.isArray(transformers) ? transformers[Number(position)] : undefined;
    if (!Array.isArray(transformers) || !isRecord(transformer)) list.splice(Number(index), 1);
    else if (path[4] === 'mapping' && Array.isArray(transformer.mapping))
      transformer.mapping.splice(Number(path[5]), 1);
    else transformers.splice(Number(position), 1);
  }
}

function readInput(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    const details = { place: file, cause: error, remedy: 'Check the path and the rights of the file.' };
    throw new NorthError('IMPORT_UNREADABLE', `The file could not be read: ${errorText(error)}.`, details);
  }
}

function writeNew(file: string, text: string): void {
  let isNew: boolean;
  try {
    isNew = createFile(file, text, 0o600);
  } catch (error) {
    const details = { place: file, cause: error };
    throw new NorthError('CONFIG_UNWRITABLE', `The file could not be written: ${errorText(error)}.`, details);
  }
  if (!isNew) throw new NorthError('CONFIG_EXISTS', 'There is a file of this name already.', { place: file });
}

function render({ config }: Imported): string {
  const document = new Document(config);
  document.commentBefore =
    ' Carried over from OIBus. Every option: docs/configuration.md\n "mqtt-north check" tells what is left to do.';
  const connectors = document.get('connectors', true);
  for (const [index] of (isSeq(connectors) ? connectors.items : []).entries()) {
    comment(document, ['connectors', index, 'settings', 'authentication', 'password']);
    const transformers = document.getIn(['connectors', index, 'transformers'], true);
    for (const transformer of isSeq(transformers) ? transformers.items : []) {
      const mapping = isMap(transformer) ? transformer.get('mapping', true) : undefined;
      for (const entry of isSeq(mapping) ? mapping.items : []) if (isMap(entry)) entry.flow = true;
    }
  }
  return document.toString({ lineWidth: 0 });
}

function comment(document: Document, path: (string | number)[]): void {
  // `getIn` with true gives the node itself; a password is a scalar, which is a node.
  const node = document.getIn(path, true) as Node | undefined;
  if (node !== undefined) node.comment = ` put it into an environment variable and write "\${NAME}"`;
}

function printNotes(notes: readonly ImportNote[], file: string | undefined): void {
  const written = file === undefined ? '' : ` to ${file}`;
  if (notes.length === 0) {
    progress.writeLine(`${progress.style('green', '✔')} Everything is carried over${written}.`);
    return;
  }
  progress.writeLine(`Carried over${written}, with these differences:`);
  let connector: string | undefined;
  for (const note of notes) {
    if (note.connector !== connector) progress.writeLine(`\n  ${progress.style('bold', printable(note.connector))}`);
    connector = note.connector;
    progress.writeLine(`    ${progress.style('cyan', printable(note.part))}: ${printable(note.message)}`);
  }
  if (notes.some(({ message }) => message.includes(PLACEHOLDER))) {
    progress.writeLine(
      `\n${progress.style('yellow', '→')} Put the passwords in place of ${PLACEHOLDER}, then run "mqtt-north check".`,
    );
  }
}

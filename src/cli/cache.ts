/** `mqtt-north cache`: look into what waits, is quarantined or archived, and act on it. */

import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { MessageState, QuarantineQuery } from '../cache/store.js';
import type { Config } from '../config/config.js';
import { openConfig } from '../config/loading.js';
import { formatSize } from '../config/units.js';
import { errorText, NorthError } from '../core/error.js';
import { isLane, LANES, type Lane } from '../core/lane.js';
import type { StoredMessageView } from '../http/stored-message-view.js';
import { type CacheAccess, type MessageFilter, openCacheAccess } from './cache-access.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import { Progress } from './progress.js';
import { notes, output, printable, writeJson } from './terminal.js';

const STATES: readonly MessageState[] = ['waiting', 'quarantined', 'archived'];
const PAGE_COUNT = 200;
const SHOWN_PAYLOAD_LENGTH = 60;

interface FilterOptions {
  config?: string;
  json?: boolean;
  state: MessageState;
  lane?: Lane;
  topic?: string;
}

interface ActionOptions {
  config?: string;
  json?: boolean;
  id?: number[];
  code?: string[];
  all?: boolean;
  topic?: string;
}

export function registerCache(program: Command): void {
  const cache = program.command('cache').description('look into what waits, is quarantined or archived, and act on it');
  addFilter(cache.command('list'), 'quarantined')
    .description('list messages, oldest first')
    .option('--limit <count>', 'at most so many', positiveInteger, 50)
    .action((id: string | undefined, options: FilterOptions & { limit: number }) => list(id, options));
  addConfigOption(cache.command('show'))
    .description('show one quarantined message with its payload and the reason')
    .argument('<id>', 'the number that "cache list" shows', positiveInteger)
    .argument('[connector]', 'which connector; not needed when there is one')
    .option('--json', 'print it as JSON')
    .action((id: number, connector: string | undefined, options: { config?: string; json?: boolean }) =>
      show(id, connector, options),
    );
  addAction(cache.command('retry'))
    .description('send quarantined messages again')
    .option('--topic <topic>', 'with exactly one --id: send it to this topic instead')
    .action((id: string | undefined, options: ActionOptions) => act('retry', id, options));
  addAction(cache.command('remove'))
    .description('remove quarantined messages for good')
    .action((id: string | undefined, options: ActionOptions) => act('remove', id, options));
  addFilter(cache.command('export'), 'quarantined')
    .description('write messages with their payloads as NDJSON')
    .option('-o, --output <file>', 'write to this file instead of standard output')
    .action((id: string | undefined, options: FilterOptions & { output?: string }) => exportAll(id, options));
}

function addFilter(command: Command, state: MessageState): Command {
  return addConfigOption(command)
    .argument('[connector]', 'which connector; not needed when there is one')
    .option('--state <state>', STATES.join(', '), oneOf(STATES), state)
    .option('--lane <lane>', `only this lane: ${LANES.join(', ')}`, laneOf)
    .option('--topic <topic>', 'only this topic, or a part of it between *')
    .option('--json', 'print the result as JSON');
}

function addAction(command: Command): Command {
  return addConfigOption(command)
    .argument('[connector]', 'which connector; not needed when there is one')
    .option('--id <id...>', 'the numbers that "cache list" shows', collectIntegers)
    .option('--code <code...>', 'all that are quarantined for this reason')
    .option('--all', 'all that are quarantined')
    .option('--json', 'print the result as JSON');
}

async function list(connector: string | undefined, options: FilterOptions & { limit: number }): Promise<void> {
  await withAccess(connector, options, async (access) => {
    const messages: StoredMessageView[] = [];
    let cursor: string | undefined;
    do {
      const page = await access.list(filterOf(options), cursor, Math.min(PAGE_COUNT, options.limit - messages.length));
      messages.push(...page.messages);
      ({ cursor } = page);
    } while (cursor !== undefined && messages.length < options.limit);
    const findings = await access.findings();
    if (options.json === true) {
      writeJson({ messages, more: cursor !== undefined, findings });
      return;
    }
    for (const { atMs, code, message } of findings) {
      const at = new Date(atMs).toISOString();
      notes.writeLine(`${notes.style(['bold', 'yellow'], `damage ${code}`)} ${at}: ${printable(message)}`);
    }
    for (const message of messages) printLine(message);
    const more = cursor === undefined ? '' : ', and there are more: --limit shows them';
    notes.writeLine(`${messages.length} ${options.state}${more}.`);
  });
}

function printLine(message: StoredMessageView): void {
  const name = message.id === undefined ? `${message.lane} ${message.offset}` : `#${message.id}`;
  const payload = (message.payloadText ?? `${formatSize(message.payloadSizeBytes)} of bytes`).slice(
    0,
    SHOWN_PAYLOAD_LENGTH,
  );
  const code = message.code === undefined ? '' : `  ${output.style('yellow', message.code)}`;
  const topic = output.style('green', printable(message.topic ?? '(no topic)'));
  output.writeLine(
    `${name.padEnd(8)} ${output.style('dim', message.acceptedAt)}  ${topic}  ${printable(payload)}${code}`,
  );
}

async function show(
  id: number,
  connector: string | undefined,
  options: { config?: string; json?: boolean },
): Promise<void> {
  await withAccess(connector, options, async (access) => {
    const message = await find(access, id);
    if (options.json === true) {
      writeJson(message);
      return;
    }
    const rows: [name: string, value: string | undefined][] = [
      ['id', String(message.id)],
      ['message id', message.messageId],
      ['lane', message.lane],
      ['topic', message.topic],
      ['QoS', message.qos === undefined ? undefined : String(message.qos)],
      ['retain', message.retain === undefined ? undefined : String(message.retain)],
      ['accepted', message.acceptedAt],
      ['quarantined', message.at],
      ['code', message.code],
      ['reason', message.reason],
      ['properties', message.properties === undefined ? undefined : JSON.stringify(message.properties)],
      ['payload', formatSize(message.payloadSizeBytes)],
    ];
    for (const [name, value] of rows) {
      if (value !== undefined) output.writeLine(`${output.style('dim', name.padEnd(12))} ${printable(value)}`);
    }
    output.writeLine();
    output.writeLine(printable(message.payloadText ?? message.payloadBase64));
  });
}

async function find(access: CacheAccess, id: number): Promise<StoredMessageView> {
  let cursor: string | undefined;
  do {
    const page = await access.list({ state: 'quarantined' }, cursor, PAGE_COUNT);
    const found = page.messages.find((message) => message.id === id);
    if (found !== undefined) return found;
    ({ cursor } = page);
  } while (cursor !== undefined);
  throw new NorthError('MESSAGE_UNKNOWN', `There is no quarantined message ${id}.`);
}

async function act(action: 'retry' | 'remove', connector: string | undefined, options: ActionOptions): Promise<void> {
  const which = selectionOf(options);
  await withAccess(connector, options, async (access) => {
    const count = action === 'retry' ? await access.retry(which, options.topic) : await access.remove(which);
    if (options.json === true) writeJson({ count });
    else output.writeLine(action === 'retry' ? `${count} wait to be sent again.` : `${count} removed.`);
  });
}

function selectionOf(options: ActionOptions): QuarantineQuery {
  const given = [options.id, options.code, options.all].filter((option) => option !== undefined);
  if (given.length !== 1) throw new NorthError('COMMAND_INVALID', 'Give exactly one of --id, --code and --all.');
  if (options.id !== undefined) return { ids: options.id };
  return options.code !== undefined ? { codes: options.code } : { all: true };
}

async function exportAll(connector: string | undefined, options: FilterOptions & { output?: string }): Promise<void> {
  await withAccess(connector, options, async (access) => {
    const write = await openTarget(options.output);
    const progress = new Progress('exported');
    let count = 0;
    let cursor: string | undefined;
    do {
      const page = await access.list(filterOf(options), cursor, PAGE_COUNT);
      await write(page.messages.map((message) => `${JSON.stringify(message)}\n`).join(''));
      count += page.messages.length;
      progress.show(count);
      ({ cursor } = page);
    } while (cursor !== undefined);
    progress.end(`${count} messages exported.`);
  });
}

/** Where an export goes: a new file, or standard output. */
async function openTarget(file: string | undefined): Promise<(text: string) => Promise<void>> {
  if (file === undefined) {
    return async (text) => {
      if (!process.stdout.write(text)) await once(process.stdout, 'drain');
    };
  }
  try {
    const handle = await open(file, 'wx');
    return (text) => handle.appendFile(text);
  } catch (error) {
    const text = `The file cannot be written: ${errorText(error)}.`;
    throw new NorthError('COMMAND_INVALID', text, {
      place: file,
      remedy: 'Give the name of a new file.',
      cause: error,
    });
  }
}

function filterOf(options: FilterOptions): MessageFilter {
  const { state, lane, topic } = options;
  return { state, ...(lane === undefined ? {} : { lane }), ...(topic === undefined ? {} : { topic }) };
}

async function withAccess(
  connector: string | undefined,
  options: { config?: string },
  work: (access: CacheAccess) => Promise<void>,
): Promise<void> {
  const { config } = openConfig(options.config ?? CONFIG_FILE);
  const access = await openCacheAccess(config, connector ?? onlyConnector(config));
  try {
    await work(access);
  } finally {
    await access.close();
  }
}

function onlyConnector({ connectors }: Config): string {
  const [first] = connectors;
  if (first !== undefined && connectors.length === 1) return first.id;
  const known = connectors.map(({ id }) => id).join(', ');
  throw new NorthError('COMMAND_INVALID', 'Name the connector, since the configuration has not exactly one.', {
    remedy: `The configuration has: ${known === '' ? 'none' : known}.`,
  });
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number above 0.');
  return value;
}

function collectIntegers(text: string, before: number[] | undefined): number[] {
  return [...(before ?? []), positiveInteger(text)];
}

function oneOf<T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((one) => one === text);
    if (value === undefined) throw new InvalidArgumentError(`It must be one of ${values.join(', ')}.`);
    return value;
  };
}

function laneOf(text: string): Lane {
  if (!isLane(text)) throw new InvalidArgumentError(`It must be one of ${LANES.join(', ')}.`);
  return text;
}

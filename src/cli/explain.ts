/** `mqtt-north explain`: what a code of ours or of MQTT means, and what to do. */
import type { Command } from 'commander';
import { nearMiss } from '../config/near-miss.js';
import { NorthError } from '../core/error.js';
import { ERRORS, type ErrorCode, isErrorCode, type RetryClass } from '../core/error-codes.js';
import {
  formatReasonCode,
  REASON_ENTRIES,
  RETURN_CODES,
  type ReasonEntry,
  type ReasonText,
  reasonEntry,
} from '../core/reason-codes.js';
import { output, writeJson } from './terminal.js';

const AGAIN: Readonly<Record<RetryClass, string>> = {
  now: 'Doing the same again at once may work.',
  later: 'Doing the same again later may work; the cause can pass by itself.',
  never: 'Doing the same again gives the same result until the cause is removed.',
};

export type Explanation =
  | { kind: 'error'; code: ErrorCode }
  | { kind: 'reason'; entry: ReasonEntry }
  | { kind: 'return'; code: number };

export function registerExplain(program: Command): void {
  program
    .command('explain')
    .description('explain a code of ours or an MQTT reason code, with the remedy')
    .argument('<code...>', 'CACHE_FULL, 0x87, 135, "not authorized", …')
    .option('--json', 'print the explanation as JSON')
    .action((words: string[], options: { json?: boolean }) => {
      const explanations = findExplanations(words.join(' '));
      if (options.json === true) {
        writeJson(explanations.map(jsonOf));
        return;
      }
      explanations.forEach((explanation, index) => {
        if (index > 0) output.writeLine();
        print(explanation);
      });
    });
}

/** Everything that the text may mean: a number can be a reason code of MQTT 5 and a return code of MQTT 3.1.1. */
export function findExplanations(text: string): Explanation[] {
  const word = text.trim();
  const code = word.toUpperCase().replaceAll(/[\s-]+/g, '_');
  if (isErrorCode(code)) return [{ kind: 'error', code }];
  if (/^(0x[0-9a-f]+|\d+)$/i.test(word)) return findNumber(Number(word), word);
  const name = fold(word);
  const found = [
    ...REASON_ENTRIES.filter((entry) => fold(entry.name) === name).map((entry) => ({ kind: 'reason', entry }) as const),
    ...[...RETURN_CODES].filter(([, entry]) => fold(entry.name) === name).map(([number]) => returnCode(number)),
  ];
  if (found.length > 0) return found;
  throw unknown(word, [...Object.keys(ERRORS), ...REASON_ENTRIES.map((entry) => entry.name)]);
}

function findNumber(number: number, word: string): Explanation[] {
  const entry = reasonEntry(number);
  const found: Explanation[] = entry === undefined ? [] : [{ kind: 'reason', entry }];
  if (RETURN_CODES.has(number)) found.push(returnCode(number));
  if (found.length > 0) return found;
  // Codes are mostly printed in hexadecimal, and often without the 0x.
  const hexadecimal = /^\d+$/.test(word) ? reasonEntry(Number.parseInt(word, 16)) : undefined;
  throw hexadecimal === undefined ? unknown(word, []) : unknown(word, [], formatReasonCode(hexadecimal.code));
}

function returnCode(code: number): Explanation {
  return { kind: 'return', code };
}

function unknown(word: string, candidates: readonly string[], suggestion = nearMiss(word, candidates)): NorthError {
  const message = `There is no code "${word.slice(0, 80)}", neither of ours nor of MQTT.`;
  const all = 'docs/errors.md lists all of our codes; those of MQTT run from 0x00 to 0xA2.';
  const remedy = suggestion === undefined ? all : `Did you mean ${suggestion}?`;
  return new NorthError('EXPLANATION_MISSING', message, { remedy });
}

function fold(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '');
}

/** Packets for which the code means the same, together. */
export function groupsOf(entry: ReasonEntry): { packets: string[]; text: ReasonText }[] {
  const groups: { packets: string[]; text: ReasonText }[] = [];
  for (const [packet, text] of entry.packets) {
    const group = groups.find((one) => one.text.meaning === text.meaning && one.text.remedy === text.remedy);
    if (group === undefined) groups.push({ packets: [packet], text });
    else group.packets.push(packet);
  }
  return groups;
}

function print(explanation: Explanation): void {
  if (explanation.kind === 'error') {
    const { meaning, remedy, retry } = ERRORS[explanation.code];
    output.writeLine(output.style('bold', explanation.code));
    printText({ meaning, remedy });
    output.writeLine(`  ${output.style('dim', AGAIN[retry])}`);
    return;
  }
  if (explanation.kind === 'return') {
    const { name, text } = returnText(explanation.code);
    output.writeLine(`${output.style('bold', `${explanation.code} ${name}`)}  CONNACK in MQTT 3.1.1`);
    printText(text);
    return;
  }
  const { entry } = explanation;
  const title = output.style('bold', `${formatReasonCode(entry.code)} ${entry.name}`);
  output.writeLine(`${title}  ${entry.code} in decimal, MQTT 5`);
  for (const { packets, text } of groupsOf(entry)) {
    output.writeLine(`  ${output.style('cyan', packets.join(', '))}`);
    printText(text);
  }
}

function printText({ meaning, remedy }: ReasonText): void {
  output.writeLine(`  ${meaning}`);
  output.writeLine(`  ${output.style('green', '→')} ${remedy}`);
}

function returnText(code: number): { name: string; text: ReasonText } {
  const entry = RETURN_CODES.get(code);
  const text = entry === undefined ? undefined : reasonEntry(entry.reasonCode)?.packets.get('CONNACK');
  return { name: entry?.name ?? 'unknown', text: text ?? { meaning: '', remedy: '' } };
}

function jsonOf(explanation: Explanation): unknown {
  if (explanation.kind === 'error') return { ...explanation, ...ERRORS[explanation.code] };
  if (explanation.kind === 'return') {
    const { name, text } = returnText(explanation.code);
    return { kind: 'return', code: explanation.code, name, protocolVersion: '3.1.1', packet: 'CONNACK', ...text };
  }
  const { code, name, packets } = explanation.entry;
  const meanings = [...packets].map(([packet, text]) => ({ packet, ...text }));
  return { kind: 'reason', code, hex: formatReasonCode(code), name, protocolVersion: '5', packets: meanings };
}

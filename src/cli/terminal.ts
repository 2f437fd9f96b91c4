/** What commands write to: text for people, with colour where it is wanted, or JSON for programs. */
import { inspect, styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Colour goes out only to a terminal, and never with NO_COLOR (https://no-color.org); FORCE_COLOR overrides a pipe. */
function wantsColor(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0';
  return stream.isTTY === true && TERM !== 'dumb';
}

export interface Output {
  write(text: string): void;
  writeLine(text?: string): void;
  /** The text in this style, or as it is where colour is not wanted. */
  style(format: Format, text: string): string;
  readonly isTerminal: boolean;
}

function outputOf(stream: NodeJS.WriteStream): Output {
  const isColored = wantsColor(stream);
  return {
    write: (text) => void stream.write(text),
    writeLine: (text = '') => void stream.write(`${text}\n`),
    style: (format, text) => (isColored ? styleText(format, text, { validateStream: false }) : text),
    isTerminal: stream.isTTY === true,
  };
}

/** For results. */
export const output: Output = outputOf(process.stdout);
/** For progress, notes and failures, so that results can be piped. */
export const notes: Output = outputOf(process.stderr);

export function writeJson(value: unknown): void {
  output.writeLine(JSON.stringify(value, null, 2));
}

/** Text from elsewhere (a file, a broker) for a terminal: without control characters, which could move the cursor. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (character) => inspect(character).slice(1, -1));
}

const TEXT_WIDTH = 100;

/** Lines of whole words; none for an empty text. */
export function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ').filter((part) => part !== '')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > TEXT_WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

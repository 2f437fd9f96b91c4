/** How failures are told and which exit code they give. */
import { type Problem, problemText } from '../config/problem.js';
import { errorText, NorthError } from '../core/error.js';
import { ERRORS, type ErrorCode } from '../core/error-codes.js';
import { notes, type Output, printable, writeJson } from './terminal.js';

export const EXIT_OK = 0;
/** It did not work. */
export const EXIT_FAILED = 1;
/** The input is wrong: the command line, the configuration, or a file that is in the way. */
export const EXIT_INPUT = 2;

const INPUT_CODES: ReadonlySet<ErrorCode> = new Set([
  'BROKER_URL_INVALID',
  'COMMAND_INVALID',
  'CONFIG_EXISTS',
  'CONFIG_INVALID',
  'CONFIG_MISSING',
  'CONFIG_SECRET_MISSING',
  'CONFIG_SYNTAX',
  'CONNECTOR_UNKNOWN',
  'SERVER_EXPOSED',
]);

export function exitCodeOf(error: NorthError): number {
  return INPUT_CODES.has(error.code) ? EXIT_INPUT : EXIT_FAILED;
}

/** What was thrown as an error of ours; what is unforeseen becomes INTERNAL. */
export function northErrorOf(thrown: unknown): NorthError {
  return thrown instanceof NorthError ? thrown : new NorthError('INTERNAL', errorText(thrown), { cause: thrown });
}

export function printFailure(thrown: unknown, options: { json: boolean }): void {
  const error = northErrorOf(thrown);
  if (options.json) {
    writeJson({ error });
    return;
  }
  printParagraph(notes, 'error', error.code, error.message, error.place, error.remedy);
  if (error.code === 'INTERNAL' && thrown instanceof Error && process.env.MQTT_NORTH_DEBUG !== undefined) {
    notes.writeLine(thrown.stack);
  }
}

/** A problem of a configuration, in the same form as a failure. */
export function printProblem(to: Output, problem: Problem, file: string): void {
  const place = problem.line === undefined ? file : `${file}:${problem.line}:${problem.column}`;
  printParagraph(to, problem.severity, problem.code, problemText(problem), place, problem.hint);
}

function printParagraph(
  to: Output,
  severity: 'error' | 'warning',
  code: ErrorCode,
  message: string,
  place: string | undefined,
  remedy: string,
): void {
  const title = to.style(severity === 'error' ? ['bold', 'red'] : ['bold', 'yellow'], `${severity} ${code}`);
  to.writeLine(`${title}: ${printable(message)}`);
  if (place !== undefined) to.writeLine(`  ${to.style('dim', 'at')} ${to.style('cyan', printable(place))}`);
  const hint = remedy === '' ? ERRORS[code].remedy : remedy;
  to.writeLine(`  ${to.style('green', '→')} ${printable(hint)}`);
}

/** What is wrong with, or doubtful in, a configuration, and where. */
import type { ErrorCode } from '../core/error-codes.js';
import { formatPath, type Path } from './shape.js';

export interface Problem {
  severity: 'error' | 'warning';
  code: ErrorCode;
  /** `connectors[0].settings.qos`; empty for the document as a whole. */
  path: string;
  /** Goes on from the path: "must be 0, 1 or 2". Repeats no text of the file, since any may be a secret. */
  message: string;
  hint: string;
  /** 1-based; undefined when the value did not come from a file. */
  line: number | undefined;
  column: number | undefined;
}

/** A problem before its place in the file is known. */
export interface Finding {
  severity: 'error' | 'warning';
  code: ErrorCode;
  path: Path;
  message: string;
  hint: string;
  /** True when the key is what is wrong, not its value. */
  isAtKey?: boolean;
}

export interface Place {
  line: number;
  column: number;
}

/** `connectors[0].settings.qos must be 0, 1 or 2`; a message that is a sentence of its own follows a colon. */
export function problemText({ path, message }: Pick<Problem, 'path' | 'message'>): string {
  if (path === '') return message;
  return /^[A-Z][a-z]* /.test(message) ? `${path}: ${message}` : `${path} ${message}`;
}

/** Adds the places, in the order of the file; what two checks found alike is told once. */
export function placeFindings(
  findings: readonly Finding[],
  placeOf: (path: Path, isAtKey: boolean) => Place | undefined,
): Problem[] {
  const problems = new Map<string, Problem>();
  for (const { isAtKey = false, path, ...rest } of findings) {
    const place = placeOf(path, isAtKey);
    const problem: Problem = { ...rest, path: formatPath(path), line: place?.line, column: place?.column };
    problems.set(`${problem.path}\n${problem.message}`, problem);
  }
  return [...problems.values()].sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
}

/**
 * What a text of the configuration may refer to, so that secrets need not stand in it:
 * `${NAME}` in any text is an environment variable; a secret as a whole may also be `file:/path` or `secret:NAME`.
 * `$${NAME}` gives the literal text `${NAME}`.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import { NorthError, systemCode } from '../core/error.js';
import type { Finding } from './problem.js';
import type { SecretStore } from './secret-store.js';
import { mapTexts, type Path, type Shape, type TextField } from './shape.js';

const SECRET_FILE_SIZE_MAX_BYTES = 64 * 1024;
const VARIABLE = /\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

export interface ReferenceOptions {
  /** What relative paths count from. */
  baseDir: string;
  env: Readonly<Record<string, string | undefined>>;
  /** Opened only when something refers to it. */
  openSecretStore: () => SecretStore;
}

export interface Resolved {
  value: unknown;
  findings: Finding[];
  /** Where secrets stand in plain text. */
  plainSecrets: readonly Path[];
}

/** True for a text that is a reference and not the secret itself. */
export function isReference(text: string): boolean {
  return /^(file|secret):/.test(text) || [...text.matchAll(VARIABLE)].some(([match]) => !match.startsWith('$$'));
}

/** Resolves all references in `value`, and makes the paths in it absolute. What is missing becomes a finding. */
export function resolveReferences(shape: Shape, value: unknown, options: ReferenceOptions): Resolved {
  const findings: Finding[] = [];
  const plainSecrets: Path[] = [];
  const resolved = mapTexts(shape, value, (text, field) => {
    if (field.isSecret && !isReference(text)) plainSecrets.push(field.path);
    try {
      const expanded = resolveText(text, field, options);
      return field.isPath && expanded !== '' ? resolve(options.baseDir, expanded) : expanded;
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      const { code, message, remedy } = error;
      findings.push({ severity: 'error', code, path: field.path, message, hint: remedy });
      return text;
    }
  });
  return { value: resolved, findings, plainSecrets };
}

function resolveText(text: string, field: TextField, options: ReferenceOptions): string {
  const expanded = text.replaceAll(VARIABLE, (match, name: string) => {
    if (match.startsWith('$$')) return match.slice(1);
    const value = options.env[name];
    if (value === undefined || (field.isSecret && value === '')) {
      const problem = value === undefined ? 'is not set' : 'is empty';
      throw missing(`refers to the environment variable ${name}, which ${problem}`, `Set ${name} for the service.`);
    }
    return value;
  });
  // Only what the file says is a reference: a password that happens to begin with "file:" is taken as it is.
  if (!field.isSecret) return expanded;
  if (text.startsWith('file:')) return readSecretFile(resolve(options.baseDir, expanded.slice(5).replace(/^\/\//, '')));
  if (text.startsWith('secret:')) {
    const name = expanded.slice(7);
    const secret = options.openSecretStore().get(name);
    if (secret === undefined) {
      throw missing('refers to a stored secret that is not there', 'Store it again, in the console for example.');
    }
    return secret;
  }
  return expanded;
}

function readSecretFile(path: string): string {
  let descriptor: number;
  try {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would hang the start.
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const reason = systemCode(error) === 'EACCES' ? 'may not be read' : 'does not exist or cannot be read';
    throw missing(
      `refers to a file that ${reason}`,
      'Check path and rights; a relative path counts from the folder of the configuration.',
    );
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw missing('refers to something that is no file', 'Give a file that holds the secret.');
    if (stat.size > SECRET_FILE_SIZE_MAX_BYTES) {
      throw missing('refers to a file that is too large for a secret', 'Give a file that holds only the secret.');
    }
    const buffer = Buffer.alloc(stat.size);
    const size = readSync(descriptor, buffer, 0, buffer.length, 0);
    const text = buffer.toString('utf8', 0, size).replace(/\r?\n$/, '');
    if (text === '') throw missing('refers to a file that is empty', 'Write the secret into it.');
    return text;
  } finally {
    closeSync(descriptor);
  }
}

function missing(message: string, remedy: string): NorthError {
  return new NorthError('CONFIG_SECRET_MISSING', message, { remedy });
}

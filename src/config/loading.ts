/**
 * From a configuration file to the configuration, or to everything that is wrong with it.
 *
 *     text -> document -> references resolved, paths absolute -> checked against the schema -> Config
 *                 \____________________\___________________________\____ problems, each with its place
 *
 * All steps run as far as they can, so that one look shows every problem.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errorText, NorthError, systemCode } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';
import { type Config, configSchema, DATA_DIR } from './config.js';
import { type ConnectorConfig, connectorSchema } from './connector.js';
import { CONFIG_SIZE_MAX_BYTES, parseConfigText } from './document.js';
import { findingsOf } from './finding.js';
import { type Finding, type Place, type Problem, placeFindings, problemText } from './problem.js';
import { type Resolved, resolveReferences } from './reference.js';
import { reviewConfig, reviewConnector } from './review.js';
import { SecretStore } from './secret-store.js';
import { isRecord, type Path, shapeOf, valueAt } from './shape.js';
import { plainSecretWarning } from './warning.js';

export interface LoadingOptions {
  /** What `${NAME}` refers to; the process's environment by default. */
  env?: Readonly<Record<string, string | undefined>>;
}

export interface LoadedConfig {
  file: string;
  /** Undefined when there are errors. */
  config: Config | undefined;
  errors: readonly Problem[];
  warnings: readonly Problem[];
  /** Where the value at a path stands, or the section around it. */
  placeOf(path: Path): Place;
}

/**
 * Loads a YAML or JSON file. Problems of its content are returned; a file that cannot be read throws a NorthError
 * CONFIG_MISSING.
 */
export function loadConfig(file: string, options: LoadingOptions = {}): LoadedConfig {
  return readConfig(readConfigFile(file), file, options);
}

/** Like `loadConfig`, but throws a NorthError CONFIG_INVALID or CONFIG_SYNTAX that names all errors. */
export function openConfig(file: string, options: LoadingOptions = {}): LoadedConfig & { config: Config } {
  const loaded = loadConfig(file, options);
  const { config, errors } = loaded;
  if (config !== undefined) return { ...loaded, config };
  throw invalidConfig(file, errors);
}

/** One error that tells of all of them; its cause is their list. */
export function invalidConfig(file: string, errors: readonly Problem[]): NorthError {
  const [first] = errors;
  const lines = errors.map((error) => `\n  ${error.line ?? ''}: ${problemText(error)}`).join('');
  const count = errors.length === 1 ? 'one error' : `${errors.length} errors`;
  const code = first?.code === 'CONFIG_SYNTAX' ? 'CONFIG_SYNTAX' : 'CONFIG_INVALID';
  return new NorthError(code, `The configuration has ${count}:${lines}`, {
    place: first?.line === undefined ? file : `${file}:${first.line}`,
    remedy: ERRORS[code].remedy,
    cause: errors,
  });
}

/** The text of a configuration file; throws CONFIG_MISSING. */
export function readConfigFile(file: string): string {
  let bytes: Uint8Array;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw missing(file, 'is no file');
    if (stat.size > CONFIG_SIZE_MAX_BYTES) throw missing(file, 'is larger than 16 MiB');
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof NorthError) throw error;
    const code = systemCode(error);
    const reason = code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'may not be read' : errorText(error);
    throw missing(file, reason, error);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new NorthError('CONFIG_SYNTAX', 'The configuration is not UTF-8 text.', {
      place: file,
      remedy: 'Save it as UTF-8.',
      cause: error,
    });
  }
}

function missing(file: string, reason: string, cause?: unknown): NorthError {
  return new NorthError('CONFIG_MISSING', `The configuration file ${reason}.`, { place: file, cause });
}

/** Reads the text of a configuration; `file` is where it would stand. Never throws for what the text contains. */
export function readConfig(text: string, file: string, { env = process.env }: LoadingOptions = {}): LoadedConfig {
  const parsed = parseConfigText(text);
  if (parsed.findings.length > 0) {
    const errors = parsed.findings.flatMap((finding) => placeFindings([finding], () => finding.place));
    return { file, config: undefined, errors, warnings: [], placeOf: (path) => parsed.placeOf(path, false) };
  }

  const shape = shapeOf(configSchema);
  const written = isRecord(parsed.value ?? {}) ? { dataDir: DATA_DIR, ...(parsed.value ?? {}) } : parsed.value;
  let store: SecretStore | undefined;
  const baseDir = dirname(resolve(file));
  const resolved = resolveReferences(shape, written, {
    baseDir,
    env,
    openSecretStore: () => {
      store ??= new SecretStore({ dataDir: dataDirOf(written, baseDir, env), env });
      return store;
    },
  });
  const result = configSchema.safeParse(resolved.value);
  const errors = errorsOf(resolved, result.success ? [] : findingsOf(result.error.issues, written, shape));
  const warnings = withoutUnresolved(resolved, [
    ...resolved.plainSecrets.map(plainSecretWarning),
    ...reviewConfig(resolved.value),
  ]);
  if (store?.isKeyExposed() === true) {
    const { remedy } = ERRORS.SECRET_FILE_EXPOSED;
    const message = `The key file ${store.keyFile} can be read by other users`;
    warnings.push({ severity: 'warning', code: 'SECRET_FILE_EXPOSED', path: [], message, hint: remedy });
  }
  return {
    file,
    config: result.success && errors.length === 0 ? result.data : undefined,
    errors: placeFindings(errors, parsed.placeOf),
    warnings: placeFindings(warnings, parsed.placeOf),
    placeOf: (path) => parsed.placeOf(path, false),
  };
}

export interface CheckedConnector {
  connector: ConnectorConfig | undefined;
  errors: readonly Problem[];
  warnings: readonly Problem[];
}

/**
 * Checks one connector that did not come from a file but from the API, with the same problems, only without places.
 * References are resolved against `baseDir`, the folder of the configuration file, and `store`.
 */
export function checkConnector(
  written: unknown,
  options: LoadingOptions & { baseDir: string; store: SecretStore },
): CheckedConnector {
  const shape = shapeOf(connectorSchema);
  const { baseDir, env = process.env, store } = options;
  const resolved = resolveReferences(shape, written, { baseDir, env, openSecretStore: () => store });
  const result = connectorSchema.safeParse(resolved.value);
  const errors = errorsOf(resolved, result.success ? [] : findingsOf(result.error.issues, written, shape));
  const warnings = [...resolved.plainSecrets.map(plainSecretWarning), ...reviewConnector(resolved.value)];
  const placeless = (): Place | undefined => undefined;
  return {
    connector: result.success && errors.length === 0 ? result.data : undefined,
    errors: placeFindings(errors, placeless),
    warnings: placeFindings(warnings, placeless),
  };
}

/** A reference that could not be resolved is the problem, not what its text looks like to the checks. */
function withoutUnresolved(resolved: Resolved, findings: readonly Finding[]): Finding[] {
  const unresolved = new Set(resolved.findings.map(({ path }) => JSON.stringify(path)));
  return findings.filter(({ path }) => !unresolved.has(JSON.stringify(path)));
}

function errorsOf(resolved: Resolved, findings: readonly Finding[]): Finding[] {
  return [...resolved.findings, ...withoutUnresolved(resolved, findings)];
}

/** The store's folder must be known before the configuration is checked, since secrets are part of what is checked. */
function dataDirOf(written: unknown, baseDir: string, env: Readonly<Record<string, string | undefined>>): string {
  const text = valueAt(written, ['dataDir']);
  const dataDir = typeof text === 'string' && text !== '' ? text : DATA_DIR;
  const expanded = dataDir.replaceAll(/\$\{(\w+)\}/g, (_match, name: string) => env[name] ?? '');
  return resolve(baseDir, expanded);
}

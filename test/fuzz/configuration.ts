/**
 * Any text as a configuration: it is one, or there is a list of problems, each with its code, its place and its remedy,
 * and without a word of a secret. Out of what is accepted, every part of a connector can be made.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import mqttPacket from 'mqtt-packet';
import { transformerErrors } from '../../src/cli/transformer-check.js';
import type { Config } from '../../src/config/config.js';
import type { ConnectorConfig } from '../../src/config/connector.js';
import { checkConnector, type LoadedConfig, loadConfig, readConfig } from '../../src/config/loading.js';
import { type Problem, problemText } from '../../src/config/problem.js';
import { redactConfig } from '../../src/config/redaction.js';
import { saveConnector } from '../../src/config/saving.js';
import { REDACTED, Secret } from '../../src/config/secret.js';
import { SecretStore } from '../../src/config/secret-store.js';
import { formatPath, parsePath } from '../../src/config/shape.js';
import {
  messageDefaults,
  reconnectOptions,
  sessionOptions,
  storeLimits,
  transportOptions,
} from '../../src/connector/settings-of.js';
import { systemClock } from '../../src/core/clock.js';
import { NorthError } from '../../src/core/error.js';
import { ERRORS } from '../../src/core/error-codes.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { TokenBook } from '../../src/http/caller.js';
import type { Delivery } from '../../src/inputs/input.js';
import { openInput } from '../../src/inputs/open-input.js';
import { encodeConnect } from '../../src/wire/control-packets.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { CANARY, type ConfigurationCase, configurationCase } from './configuration-documents.js';
import type { FuzzTarget } from './fuzz.js';
import { toBytes } from './mutation.js';
import { assertRefusal } from './transformed.js';

class Subject {
  readonly cases = configurationCase;
  readonly #folder = temporaryFolder('fuzz-configuration');
  readonly #file = join(this.#folder, 'c.yaml');
  readonly #env = { HOME: this.#folder, X: 'filled' };
  readonly #store = new SecretStore({ dataDir: this.#folder, env: this.#env });

  check({ text, isSaved }: ConfigurationCase): string {
    const bytes = toBytes(text);
    let decoded: string;
    try {
      decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      this.#checkUnreadable(bytes);
      decoded = new TextDecoder().decode(bytes);
    }
    const loaded = readConfig(decoded, this.#file, { env: this.#env });
    checkProblems(loaded, decoded);
    this.#checkParts(decoded);
    if (loaded.config === undefined) return loaded.errors[0]?.code === 'CONFIG_SYNTAX' ? 'no YAML' : 'not valid';
    // These quote templates and paths, and nothing else.
    for (const problem of transformerErrors(loaded)) checkForm(problem);
    build(loaded.config);
    checkRedaction(loaded.config);
    if (isSaved) this.#save(decoded, loaded.config);
    return loaded.warnings.length > 0 ? 'valid, with warnings' : 'valid';
  }

  #checkUnreadable(bytes: Buffer): void {
    writeFileSync(this.#file, bytes);
    assert.throws(() => loadConfig(this.#file, { env: this.#env }), { code: 'CONFIG_SYNTAX' });
  }

  /** Each connector of the document, as the API hands it in. */
  #checkParts(text: string): void {
    let connectors: unknown;
    try {
      connectors = (JSON.parse(text) as { connectors?: unknown } | null)?.connectors;
    } catch {
      return;
    }
    for (const one of Array.isArray(connectors) ? connectors : []) {
      const { connector, errors } = checkConnector(one, { baseDir: this.#folder, env: this.#env, store: this.#store });
      assert.equal(connector === undefined, errors.length > 0);
      for (const problem of errors) checkProblem(problem);
    }
  }

  /** A change of one connector leaves everything else in the file what it was. */
  #save(text: string, config: Config): void {
    const [first, ...others] = config.connectors;
    if (first === undefined) return;
    writeFileSync(this.#file, text);
    const written = { id: first.id, name: 'changed', settings: { url: 'mqtt://127.0.0.1:2' }, enabled: false };
    let saved: LoadedConfig;
    try {
      saved = saveConnector(this.#file, written, { env: this.#env, store: this.#store });
    } catch (error) {
      assertRefusal(error, ['CONFIG_INVALID', 'CONFIG_SYNTAX']);
      const again = readConfig(text, this.#file, { env: this.#env });
      assert.ok(again.config !== undefined);
      return;
    }
    assert.ok(saved.config !== undefined);
    assert.equal(saved.config.connectors.find(({ id }) => id === first.id)?.name, 'changed');
    for (const other of others) {
      const now = saved.config.connectors.find(({ id }) => id === other.id);
      assert.ok(isDeepStrictEqual(now, other), `${other.id} has changed`);
    }
    const { inputs, server } = saved.config;
    assert.ok(isDeepStrictEqual(inputs, config.inputs) && isDeepStrictEqual(server, config.server));
  }
}

function checkProblems({ config, errors, warnings }: LoadedConfig, text: string): void {
  assert.equal(config === undefined, errors.length > 0);
  const lineCount = text.split(/\r\n|[\r\n]/).length;
  for (const problem of [...errors, ...warnings]) {
    checkProblem(problem);
    const { line, column } = problem;
    assert.ok(line !== undefined && line >= 1 && line <= lineCount + 1, `line ${line} of ${lineCount}`);
    assert.ok(column !== undefined && column >= 1);
  }
}

function checkProblem(problem: Problem): void {
  checkForm(problem);
  const { message, hint } = problem;
  assert.ok(!`${message} ${hint}`.includes(CANARY), `a problem tells a secret: ${message} ${hint}`);
  assert.ok(message.length + hint.length < 3000, 'a problem repeats the file');
}

function checkForm(problem: Problem): void {
  const { code, path, message, hint } = problem;
  assert.ok(ERRORS[code] !== undefined, code);
  assert.ok(message !== '' && hint !== '', problemText(problem));
  assert.equal(formatPath(parsePath(path)), path);
}

const NO_DELIVERY: Delivery = {
  deliver: () => Promise.reject(new Error('Nothing is started.')),
  deliverFile: () => Promise.reject(new Error('Nothing is started.')),
  fileProgress: () => Promise.reject(new Error('Nothing is started.')),
};

/** Everything that a service makes of a valid configuration before it touches disk or network. */
function build(config: Config): void {
  new TokenBook(config.server.tokens);
  for (const input of config.inputs) {
    try {
      openInput(input, NO_DELIVERY, { clock: systemClock(), logger: SILENT_LOGGER });
    } catch (error) {
      if (!(error instanceof NorthError)) throw error;
      assert.equal(error.code, 'CONFIG_INVALID');
    }
  }
  for (const connector of config.connectors) buildConnector(connector);
}

function buildConnector(connector: ConnectorConfig): void {
  const { settings, caching } = connector;
  messageDefaults(settings);
  storeLimits(caching);
  const { brokers } = reconnectOptions(settings);
  assert.ok(brokers.length > 0);
  for (const broker of brokers) transportOptions(settings, broker, 1000);
  const options = sessionOptions(connector, '0badcafe');
  for (const protocolVersion of [4, 5] as const) {
    const bytes = encodeConnect({ ...options, protocolVersion, cleanStart: true });
    let parsed: mqttPacket.Packet | undefined;
    const parser = mqttPacket.parser();
    parser.on('packet', (packet) => {
      parsed = packet;
    });
    parser.parse(bytes);
    assert.ok(parsed?.cmd === 'connect', 'the CONNECT cannot be read');
    assert.equal(parsed.clientId, options.clientId);
    assert.equal(parsed.username, options.username);
    assert.equal(parsed.will?.topic, options.will?.topic);
  }
}

/** No secret is left in what is shown of a configuration. The names of options are ours: "phrase" is in one of them. */
function checkRedaction(config: Config): void {
  const shown = JSON.stringify(textsIn(redactConfig(config)));
  for (const secret of secretsOf(config)) {
    if (secret.length < 6 || REDACTED.includes(secret)) continue;
    assert.ok(!shown.includes(JSON.stringify(secret).slice(1, -1)), 'the redacted configuration has a secret in it');
  }
}

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

function secretsOf(found: unknown): string[] {
  if (found instanceof Secret) return [found.reveal()];
  if (typeof found !== 'object' || found === null) return [];
  return Object.values(found).flatMap(secretsOf);
}

export const configuration: FuzzTarget<ConfigurationCase> = { name: 'configuration', open: () => new Subject() };

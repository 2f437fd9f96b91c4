/** The options of a connection on a command line; they are the same wherever a command takes a URL. */
import type { Command } from 'commander';
import { type ConnectorConfig, type ConnectorInput, connectorSchema } from '../config/connector.js';
import { findingsOf } from '../config/finding.js';
import { shapeOf } from '../config/shape.js';
import { NorthError } from '../core/error.js';

export interface ConnectionOptions {
  username?: string;
  pw?: string;
  cafile?: string;
  cert?: string;
  key?: string;
  insecure?: boolean;
  protocolVersion?: string;
}

export function addConnectionOptions(command: Command): Command {
  return command
    .option('-u, --username <name>', 'user name')
    .option('-P, --pw <password>', 'password; better in the environment as MQTT_NORTH_PASSWORD')
    .option('--cafile <file>', 'PEM file with the authority of the broker')
    .option('--cert <file>', 'PEM file with our certificate')
    .option('--key <file>', 'PEM file with its private key')
    .option('--insecure', 'accept a certificate that cannot be verified')
    .option('-V, --protocol-version <version>', 'auto, 5 or 3.1.1', 'auto');
}

const ATTRIBUTES: ReadonlySet<string> = new Set<keyof ConnectionOptions>([
  'username',
  'pw',
  'cafile',
  'cert',
  'key',
  'insecure',
  'protocolVersion',
]);

/** Throws COMMAND_INVALID when any of the options was given: without a URL none of them would have an effect. */
export function assertNoConnectionOptions(command: Command, remedy: string): void {
  const given = command.options.filter((option) => {
    const name = option.attributeName();
    return ATTRIBUTES.has(name) && command.getOptionValueSource(name) === 'cli';
  });
  if (given.length === 0) return;
  const names = given.map(({ long, flags }) => long ?? flags).join(', ');
  throw new NorthError('COMMAND_INVALID', `Without --url there is no broker that this is for: ${names}.`, { remedy });
}

/** What the options say about the connection, not checked yet. Throws COMMAND_INVALID for half a certificate. */
export function connectionSettings(url: string, options: ConnectionOptions): ConnectorInput['settings'] {
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new NorthError('COMMAND_INVALID', '--cert and --key belong together.', { remedy: 'Give both files.' });
  }
  const password = options.pw ?? process.env.MQTT_NORTH_PASSWORD;
  const ca = options.cafile === undefined ? {} : { caFilePath: options.cafile };
  let authentication: ConnectorInput['settings']['authentication'] = { type: 'none', ...ca };
  if (options.cert !== undefined && options.key !== undefined) {
    authentication = { type: 'cert', certFilePath: options.cert, keyFilePath: options.key, ...ca };
  } else if (options.username !== undefined) {
    authentication = { type: 'basic', username: options.username, password: password ?? '', ...ca };
  }
  // What somebody typed is checked by the schema, which takes anything.
  const protocolVersion = options.protocolVersion as ConnectorInput['settings']['protocolVersion'];
  return { url, rejectUnauthorized: options.insecure !== true, protocolVersion, authentication };
}

/** Throws COMMAND_INVALID with the first thing that is wrong. */
export function checkConnector(written: ConnectorInput): ConnectorConfig {
  const checked = connectorSchema.safeParse(written);
  if (checked.success) return checked.data;
  const [finding] = findingsOf(checked.error.issues, written, shapeOf(connectorSchema));
  throw new NorthError(
    'COMMAND_INVALID',
    `${finding?.path.join('.') ?? 'an option'} ${finding?.message ?? 'is wrong'}.`,
    { remedy: finding?.hint ?? 'See --help.' },
  );
}

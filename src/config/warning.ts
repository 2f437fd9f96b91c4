/** What is allowed but unsafe, without effect, or probably not meant. */
import { accessSync, constants } from 'node:fs';
import type { ErrorCode } from '../core/error-codes.js';
import { ERRORS } from '../core/error-codes.js';
import { isThisMachine } from './broker-url.js';
import type { ConnectorConfig } from './connector.js';
import type { InputConfig } from './inputs.js';
import { nearMiss } from './near-miss.js';
import type { Finding } from './problem.js';
import type { ServerConfig } from './server.js';
import { brokerUrls, type ConnectionSettings } from './settings.js';
import type { Path } from './shape.js';
import type { TransformerConfig } from './transformers.js';

const TOKEN_LENGTH_MIN = 16;

function warning(code: ErrorCode, path: Path, message: string, hint: string = ERRORS[code].remedy): Finding {
  return { severity: 'warning', code, path, message, hint };
}

export function plainSecretWarning(path: Path): Finding {
  return warning('SECRET_IN_PLAIN_TEXT', path, 'stands readable in this file');
}

export function settingsWarnings(settings: ConnectionSettings): Finding[] {
  return [...safetyWarnings(settings), ...meaningWarnings(settings), ...fileWarnings(settings)];
}

function safetyWarnings({ url, brokers, authentication, rejectUnauthorized }: ConnectionSettings): Finding[] {
  const findings: Finding[] = [];
  const hops = brokerUrls({ url, brokers }).map((broker, index) => ({
    ...broker,
    path: index === 0 ? ['url'] : ['brokers', index - 1],
    isRemote: !isThisMachine(broker.host),
  }));
  for (const { isRemote, secure, path } of hops) {
    if (!isRemote) continue;
    if (authentication.type === 'none') {
      const message = 'leads to another machine, and authentication.type is none';
      findings.push(warning('AUTHENTICATION_MISSING', path, message));
    }
    if (authentication.type === 'basic' && !secure) {
      findings.push(warning('CONNECTION_UNENCRYPTED', path, 'sends the password to another machine unencrypted'));
    }
  }
  const isSecure = hops.some(({ secure }) => secure);
  if (!rejectUnauthorized && isSecure) {
    const message = "is false: the broker's certificate is not checked";
    findings.push(warning('CERTIFICATE_UNCHECKED', ['rejectUnauthorized'], message));
  }
  if (!isSecure && authentication.type === 'cert') {
    const message = 'needs TLS, and no broker is reached by it: the certificate is never shown';
    findings.push(
      warning('SETTING_WITHOUT_EFFECT', ['authentication', 'type'], message, 'Use mqtts:// or wss:// in url.'),
    );
  } else if (!isSecure && authentication.caFilePath !== undefined) {
    const path = ['authentication', 'caFilePath'];
    findings.push(
      warning('SETTING_WITHOUT_EFFECT', path, 'needs TLS, and no broker is reached by it', 'Use mqtts:// or wss://.'),
    );
  }
  return findings;
}

function meaningWarnings(settings: ConnectionSettings): Finding[] {
  const findings: Finding[] = [];
  const doubt = (key: string, message: string, hint: string) => {
    findings.push(warning('SETTING_DOUBTFUL', [key], message, hint));
  };
  if (settings.qos === 2 && !settings.persistent) {
    const message = 'is false with qos 2: exactly once then ends at the first lost connection';
    doubt('persistent', message, 'Remove it, or set it to true.');
  }
  if (settings.persistent && settings.sessionExpiryInterval === 0) {
    const message = 'is 0 with persistent: the broker forgets the session with each connection';
    doubt('sessionExpiryInterval', message, 'Give a time that is longer than any outage, such as 7 d.');
  }
  if (settings.keepalive === 0) {
    doubt('keepalive', 'is 0: a line that dies silently is noticed late', 'Some brokers refuse it; 60 s is usual.');
  }
  if (settings.keyPassphrase !== undefined && settings.authentication.type !== 'cert') {
    const message = 'needs authentication.type cert';
    findings.push(warning('SETTING_WITHOUT_EFFECT', ['keyPassphrase'], message));
  }
  if (settings.protocolVersion === '3.1.1') findings.push(...version5Warnings(settings));
  return findings;
}

function version5Warnings({ userProperties, messageIdProperty, will }: ConnectionSettings): Finding[] {
  const paths: Path[] = [];
  if (userProperties.length > 0) paths.push(['userProperties']);
  if (messageIdProperty !== undefined) paths.push(['messageIdProperty']);
  if (will !== undefined && will.delay > 0) paths.push(['will', 'delay']);
  const hint = 'Set protocolVersion to auto or 5, or remove it.';
  return paths.map((path) => warning('SETTING_WITHOUT_EFFECT', path, 'needs MQTT 5', hint));
}

function fileWarnings({ authentication }: ConnectionSettings): Finding[] {
  return Object.entries(authentication).flatMap(([key, file]) =>
    key.endsWith('FilePath') && typeof file === 'string' ? missingFile(['authentication', key], file) : [],
  );
}

function missingFile(path: Path, file: string): Finding[] {
  try {
    accessSync(file, constants.R_OK);
    return [];
  } catch {
    return [warning('CERTIFICATE_FILE_MISSING', path, 'names a file that does not exist or cannot be read')];
  }
}

export function serverWarnings({ tokens, tls }: ServerConfig): Finding[] {
  const weak = tokens.flatMap(({ secret }, index) =>
    secret.reveal().length < TOKEN_LENGTH_MIN
      ? [warning('TOKEN_WEAK', ['tokens', index, 'secret'], `is shorter than ${TOKEN_LENGTH_MIN} characters`)]
      : [],
  );
  const files = Object.entries(tls ?? {}).flatMap(([key, file]) => missingFile(['tls', key], file));
  return [...weak, ...files];
}

/** The content types that a transformer takes. */
function typesOf(transformer: TransformerConfig): readonly string[] {
  switch (transformer.type) {
    case 'time-values-to-mqtt':
      return ['time-values'];
    case 'setpoints-to-mqtt':
      return ['setpoints'];
    case 'csv-to-mqtt':
      return ['csv'];
    case 'json-to-mqtt':
      return ['json'];
    case 'messages-to-mqtt':
      return ['messages'];
    case 'ignore':
      return transformer.types ?? ['time-values', 'setpoints', 'csv', 'json', 'messages'];
  }
}

/** Transformers that never get anything, because those before them take it. */
export function transformerWarnings(
  transformers: readonly TransformerConfig[],
  inputIds: readonly string[],
): Finding[] {
  return transformers.flatMap((transformer, index) => {
    const { from } = transformer;
    const hidden = typesOf(transformer).every((type) =>
      transformers.slice(0, index).some((other) => ['*', from].includes(other.from) && typesOf(other).includes(type)),
    );
    if (hidden) {
      const hint = 'Of transformers that fit, the first is taken: put this one further up, or remove it.';
      return [warning('SETTING_WITHOUT_EFFECT', ['transformers', index], 'is never reached', hint)];
    }
    const near = from === '*' || inputIds.includes(from) ? undefined : nearMiss(from, inputIds);
    if (near === undefined) return [];
    const hint = `Did you mean ${near}? Leave it if it is the source parameter of API requests.`;
    return [warning('SETTING_DOUBTFUL', ['transformers', index, 'from'], 'is the id of no input', hint)];
  });
}

/** Inputs whose content no connector takes. */
export function inputWarnings(inputs: readonly InputConfig[], connectors: readonly ConnectorConfig[]): Finding[] {
  return inputs.flatMap((input, index) => {
    if (!input.enabled) return [];
    const isTaken = connectors.some(
      (connector) =>
        (input.connectors ?? [connector.id]).includes(connector.id) &&
        connector.transformers.some(
          (transformer) =>
            ['*', input.id].includes(transformer.from) &&
            typesOf(transformer).some((type) => contentTypesOf(input).includes(type)),
        ),
    );
    if (isTaken) return [];
    const hint = `Add a transformer for ${contentTypesOf(input).join(' or ')} with from: ${input.id}.`;
    return [warning('SETTING_DOUBTFUL', [index], 'feeds no connector: none has a transformer for it', hint)];
  });
}

function contentTypesOf(input: InputConfig): readonly string[] {
  if (input.type === 'host-sensors') return ['time-values'];
  return input.contentType === 'auto' ? ['csv', 'json'] : [input.contentType];
}

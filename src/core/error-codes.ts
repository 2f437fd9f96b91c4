/** What to expect of doing the same again: at once, later (the cause may pass by itself), or never. */
export type RetryClass = 'now' | 'later' | 'never';

export interface ErrorEntry {
  /** What it means, in one sentence for a technician. */
  meaning: string;
  remedy: string;
  retry: RetryClass;
}

function entry(retry: RetryClass, meaning: string, remedy: string): ErrorEntry {
  return { retry, meaning, remedy };
}

/**
 * Every error code of the product, once. A code is `NOUN_PROBLEM` and is never reused for another meaning.
 * `mqtt-north explain` and docs/errors.md are made from this table.
 */
export const ERRORS = {
  // Configuration and command line
  CONFIG_MISSING: entry(
    'never',
    'The configuration file does not exist or cannot be read.',
    'Check the path, or create one with "mqtt-north init".',
  ),
  CONFIG_SYNTAX: entry('never', 'The configuration is not valid YAML or JSON.', 'Mend the line that is named.'),
  CONFIG_INVALID: entry(
    'never',
    'The configuration has at least one wrong value or key.',
    'Run "mqtt-north check" and mend each problem that it prints.',
  ),
  CONFIG_EXISTS: entry(
    'never',
    'A configuration file is already there and is not overwritten.',
    'Give another file name, or move the old file away.',
  ),
  CONFIG_SECRET_MISSING: entry(
    'never',
    'A secret that the configuration refers to is not there.',
    'Set the environment variable, create the file, or store the secret again.',
  ),
  COMMAND_INVALID: entry('never', 'The command line is wrong.', "See the command's --help."),
  IMPORT_UNREADABLE: entry(
    'never',
    'The file is not an export of an OIBus connector or configuration.',
    'Export the connector again from OIBus as JSON and give that file.',
  ),

  // Cache
  CACHE_LOCKED: entry(
    'later',
    'Another process holds this data directory.',
    'Stop the process whose pid is named, or use another data directory.',
  ),
  CACHE_FULL: entry(
    'later',
    'The cache has reached its maxSize.',
    'Wait until the broker has taken some, raise caching.maxSize, or remove quarantined messages.',
  ),
  CACHE_DISK_FULL: entry(
    'later',
    'The disk has no room for the cache.',
    'Free room on the disk that holds the data directory; nothing that was accepted is lost.',
  ),
  CACHE_FAILED: entry(
    'later',
    'The cache could not be read or written.',
    'Look at the disk and at the message; nothing that was accepted is removed.',
  ),
  CACHE_DAMAGED: entry(
    'never',
    'A part of the cache cannot be read.',
    'What can be read is delivered; the damaged part is set aside beside the cache for inspection.',
  ),
  CACHE_NEWER: entry(
    'never',
    'The cache was written by a newer version.',
    'Run the newer version, or drain the cache with it first.',
  ),
  CACHE_CLOSED: entry(
    'later',
    'The cache is closed because the service is stopping.',
    'Try again when the service runs.',
  ),
  MESSAGE_UNKNOWN: entry(
    'never',
    'There is no such message in this state.',
    'List the cache again; it may have been sent or removed meanwhile.',
  ),

  // Content and transformers
  CONTENT_MALFORMED: entry(
    'never',
    'The content is not what its type says.',
    'Compare it with the example in the API documentation.',
  ),
  CONTENT_EMPTY: entry(
    'never',
    'Nothing in the content was valid, so nothing was accepted.',
    'Mend the elements that are listed.',
  ),
  CONTENT_TOO_LARGE: entry(
    'never',
    'The content is larger than allowed.',
    'Send it in several requests, or raise server.maxBodySize.',
  ),
  CONTENT_TYPE_UNSUPPORTED: entry(
    'never',
    'The media type is not supported here.',
    'Use application/json, application/x-ndjson or text/csv.',
  ),
  ELEMENT_INVALID: entry(
    'never',
    'An element of the content lacks a field or has one of the wrong type.',
    'Mend the element at the index that is given.',
  ),
  TRANSFORMER_MISSING: entry(
    'never',
    'No transformer of the connector takes this content from this source.',
    'Add a transformer with a fitting "from" and type.',
  ),
  TRANSFORMER_FAILED: entry(
    'never',
    "The transformer's expression failed on this content.",
    'Try the expression on the content that is in quarantine.',
  ),
  UNMAPPED: entry(
    'never',
    'The point or reference has no mapping, and the transformer has no topic template.',
    'Add a mapping or a topic template, then retry the message from quarantine.',
  ),
  TOPIC_INVALID: entry(
    'never',
    'The topic cannot be published to.',
    'Mend the mapping or template that made it: no wildcards, no NUL, not empty, at most 65,535 bytes.',
  ),
  MESSAGE_TOO_LARGE: entry(
    'never',
    'The message is larger than the MQTT protocol or the cache allows.',
    'Split the payload.',
  ),
  IDEMPOTENCY_KEY_REUSED: entry(
    'never',
    'The Idempotency-Key was used before with other content.',
    'Use a new key for new content.',
  ),

  // Service and API
  CONNECTOR_UNKNOWN: entry('never', 'There is no such connector.', 'Look up the ids with GET /api/connectors.'),
  CONNECTOR_DISABLED: entry('later', 'The connector is disabled.', 'Enable it, or send to another one.'),
  CONNECTOR_EXISTS: entry(
    'never',
    'A connector with this id is already there.',
    'Choose another id, or change the existing one.',
  ),
  SERVICE_STOPPING: entry(
    'later',
    'The service is stopping and takes no more content.',
    'Try again after the time in Retry-After.',
  ),
  REQUEST_INVALID: entry('never', 'The request is wrong.', 'See /api/docs for the parameters.'),
  REQUEST_TOO_MANY: entry('later', 'Too many requests at once.', 'Slow down and try again.'),
  TOKEN_MISSING: entry(
    'never',
    'The request carries no valid token.',
    'Send "Authorization: Bearer …" with a token of the configuration.',
  ),
  TOKEN_FORBIDDEN: entry(
    'never',
    "The token's role or connectors do not allow this.",
    'Use a token with a higher role, or one for this connector.',
  ),
  ROUTE_UNKNOWN: entry('never', 'There is no such path.', 'See /api/docs.'),
  PORT_TAKEN: entry('never', 'The port is in use by another process.', 'Stop that process or choose another port.'),
  SERVER_EXPOSED: entry(
    'never',
    'The server would be reachable from other machines without protection.',
    'Give it tokens and TLS, bind it to 127.0.0.1, or set server.insecure: true if you know why.',
  ),
  INTERNAL: entry('later', 'Something unforeseen failed.', 'Look at the log; please report it.'),

  // Connection
  BROKER_UNRESOLVED: entry(
    'later',
    "The broker's host name could not be resolved.",
    "Check the name in the URL, and this machine's DNS.",
  ),
  BROKER_REFUSED: entry(
    'later',
    "The broker's machine refused the connection.",
    'Check the port, and that the broker is running.',
  ),
  BROKER_UNREACHABLE: entry('later', 'There is no route to the broker.', 'Check the network, the VPN and firewalls.'),
  BROKER_TIMEOUT: entry(
    'later',
    'The broker did not answer within the connect timeout.',
    'Check address and firewalls; a silent port may be no MQTT broker.',
  ),
  BROKER_CLOSED: entry(
    'later',
    'The broker closed the connection.',
    "See the broker's log for the reason; before CONNACK it is often a TLS port spoken to in plain, or the reverse.",
  ),
  BROKER_NOT_MQTT: entry(
    'later',
    'What answers at this address does not speak MQTT.',
    'Check the port and the scheme of the URL.',
  ),
  BROKER_PROTOCOL: entry(
    'later',
    'The broker broke the MQTT protocol.',
    'Note what was received and report it to the maker of the broker.',
  ),
  BROKER_REJECTED: entry('later', 'The broker refused the MQTT connection.', 'See the reason that the broker gave.'),
  BROKER_AUTHENTICATION: entry(
    'later',
    'The broker refused the user name or password.',
    'Check user name and password, and that the user exists on the broker.',
  ),
  BROKER_NOT_AUTHORIZED: entry(
    'later',
    'The broker does not allow this client to connect.',
    "Check the broker's access rules for this client id and user.",
  ),
  BROKER_VERSION: entry(
    'later',
    'The broker does not speak this version of MQTT.',
    'Set protocolVersion to auto or to a version that the broker speaks.',
  ),
  CLIENT_ID_REFUSED: entry(
    'later',
    'The broker refused the client id.',
    'Set another clientId; some brokers allow only certain characters or lengths.',
  ),
  CLIENT_ID_TAKEN: entry(
    'later',
    'Another client with our client id took over the session.',
    'Find the other client and give one of them a different clientId.',
  ),
  TLS_UNTRUSTED: entry(
    'later',
    "The broker's certificate is not signed by a known authority.",
    "Give the authority's certificate as authentication.caFilePath.",
  ),
  TLS_SELF_SIGNED: entry(
    'later',
    "The broker's certificate is self-signed.",
    'Give that certificate as authentication.caFilePath, or set rejectUnauthorized: false if you know why.',
  ),
  TLS_EXPIRED: entry(
    'later',
    "The broker's certificate has expired or is not yet valid.",
    "Renew the broker's certificate; check this machine's clock.",
  ),
  TLS_HOST_MISMATCH: entry(
    'later',
    "The broker's certificate is for another host name.",
    'Use the name in the certificate as host, or set servername.',
  ),
  TLS_CLIENT_CERTIFICATE: entry(
    'later',
    'The broker did not accept our certificate, or wants one.',
    'Check certFilePath and keyFilePath, and that the broker knows the authority that signed it.',
  ),
  TLS_FAILED: entry(
    'later',
    'The TLS handshake failed.',
    'Check the TLS versions of both sides, and that the port speaks TLS.',
  ),
  CERTIFICATE_FILE_MISSING: entry(
    'later',
    'A certificate or key file does not exist or cannot be read.',
    'Check the path and the rights of the file.',
  ),
  CERTIFICATE_INVALID: entry(
    'later',
    'A certificate or key file is not valid PEM.',
    'Give a PEM file (it begins with -----BEGIN).',
  ),
  CERTIFICATE_KEY_MISMATCH: entry(
    'later',
    'The private key does not belong to the certificate.',
    'Give the key that the certificate was made with.',
  ),
  CERTIFICATE_KEY_ENCRYPTED: entry(
    'later',
    'The private key is encrypted, and the passphrase is missing or wrong.',
    'Set keyPassphrase.',
  ),
  WEBSOCKET_REFUSED: entry(
    'later',
    'The server did not accept the websocket.',
    'Check the path in the URL; many brokers use /mqtt.',
  ),
  CONNECTION_LOST: entry(
    'later',
    'The connection to the broker was lost.',
    'Nothing to do: it reconnects by itself. Look at the network if it happens often.',
  ),
  KEEPALIVE_TIMEOUT: entry(
    'later',
    'The broker did not answer a ping.',
    'Look at the network; a half-open connection was closed.',
  ),
  ACK_OVERDUE: entry(
    'later',
    'The broker did not acknowledge a message in time.',
    "Look at the broker's load; raise ackTimeout for a slow link.",
  ),

  // Quarantine
  PUBLISH_REFUSED: entry(
    'never',
    'The broker refused the message.',
    "See the broker's reason; mend it, then retry the message.",
  ),
  PUBLISH_NOT_AUTHORIZED: entry(
    'later',
    'The broker does not allow us to publish to this topic.',
    "Allow it in the broker's access rules, then retry the message.",
  ),
  PUBLISH_TOO_LARGE: entry(
    'never',
    'The message is larger than the broker takes.',
    "Raise the broker's limit or split the payload, then retry.",
  ),
  PUBLISH_POISONOUS: entry(
    'never',
    'The broker closed the connection again and again when it got this message.',
    "Look at topic and payload, and at the broker's log; then retry or remove it.",
  ),
  PUBLISH_RETRIES_EXHAUSTED: entry(
    'later',
    'The broker refused the message for a passing reason, too many times.',
    "Look at the broker's load and quotas, then retry the message.",
  ),
  MESSAGE_UNREADABLE: entry(
    'never',
    'The message in the cache is damaged.',
    'It is kept as it is; look at it with "mqtt-north cache show".',
  ),
  MESSAGE_EXPIRED: entry(
    'never',
    'The message was older than its expiry before it could be sent.',
    'Raise messageExpiry or caching.maxAge if old values still matter.',
  ),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

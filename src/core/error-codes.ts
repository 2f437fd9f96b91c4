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
  CONFIG_KEY_UNKNOWN: entry(
    'never',
    'The configuration has a key that means nothing here.',
    'Look for a slip of the pen, or for the section that the key belongs to; see docs/configuration.md.',
  ),
  CONFIG_KEY_MISSING: entry(
    'never',
    'The configuration lacks a value that is needed.',
    'Add it; see docs/configuration.md.',
  ),
  CONFIG_NAME_TAKEN: entry(
    'never',
    'Two entries of the configuration have the same id or name.',
    'Rename one of them.',
  ),
  CONFIG_UNWRITABLE: entry(
    'later',
    'A file of the configuration could not be written.',
    'Check the rights of its folder and the room on the disk; the old file is unchanged.',
  ),
  CONFIG_CHANGED: entry(
    'later',
    'The configuration file was changed by someone else meanwhile.',
    'Load it again and repeat the change.',
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
  SECRET_NAME_INVALID: entry(
    'never',
    'The name of a stored secret has a form that is not allowed.',
    'Use 1 to 200 letters, digits, dots, dashes and underscores.',
  ),
  SECRET_KEY_INVALID: entry(
    'never',
    'The key that protects the stored secrets is not usable.',
    'Give 32 bytes in base64 or hexadecimal as MQTT_NORTH_KEY, or put the right key file back.',
  ),
  SECRET_UNREADABLE: entry(
    'never',
    'A stored secret cannot be decrypted.',
    'It was made with another key, or the file was changed: put the old key back, or store the secret again.',
  ),
  SECRET_IN_PLAIN_TEXT: entry(
    'never',
    'A secret stands readable in the configuration file.',
    `Put it into an environment variable and write "\${NAME}", or into a file of its own and write "file:/path".`,
  ),
  SECRET_FILE_EXPOSED: entry(
    'never',
    'Other users of this machine can read a file with a secret.',
    'Take their rights away: chmod 600.',
  ),
  TOKEN_WEAK: entry(
    'never',
    'An API token is short enough to be guessed.',
    'Use at least 16 random characters, from "openssl rand -base64 24" for example.',
  ),
  AUTHENTICATION_MISSING: entry(
    'never',
    'The connector connects to a broker on another machine without authentication.',
    'Not for production: set authentication.type to basic or cert.',
  ),
  CONNECTION_UNENCRYPTED: entry(
    'never',
    'A password travels to another machine unencrypted.',
    'Not for production: use mqtts:// or wss://.',
  ),
  CERTIFICATE_UNCHECKED: entry(
    'never',
    "The broker's certificate is not checked, so that anyone on the way can read and change everything.",
    'Not for production: set rejectUnauthorized to true, and caFilePath where the authority is your own.',
  ),
  SETTING_WITHOUT_EFFECT: entry(
    'never',
    'A setting does nothing together with the others.',
    'Remove it, or change the setting that is named.',
  ),
  SETTING_DOUBTFUL: entry(
    'never',
    'A setting is allowed, but probably not what is meant.',
    'Read the message; change the setting, or leave it if you know why.',
  ),
  CONNECTIONS_HELD: entry(
    'later',
    'Another number of connections is configured, and does not take effect while messages wait.',
    'Let the connector send what waits, then restart the service or save the configuration of the connector again.',
  ),
  COMMAND_INVALID: entry('never', 'The command line is wrong.', "See the command's --help."),
  EXPLANATION_MISSING: entry(
    'never',
    'There is no explanation for what was asked.',
    'docs/errors.md lists all of our codes; those of MQTT run from 0x00 to 0xA2.',
  ),
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
  LOCK_DAMAGED: entry(
    'now',
    'The file that keeps a second process out of the data directory was damaged.',
    'Nothing to do: it was made anew. Other files of the data directory may be damaged by the same cause; look at the disk.',
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
  ROW_INVALID: entry(
    'never',
    'A row of a CSV cannot be read, or has a cell that is not what the transformer is to make of it.',
    'Look at the row in quarantine; mend what writes it, or delimiter, quote, encoding and types of the transformer.',
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
  CONNECTOR_FAILED: entry(
    'later',
    'The connector could not be opened, so that it takes nothing.',
    'See its state and the log for the cause; keep the content and hand it in again.',
  ),
  CONNECTOR_DISABLED: entry('later', 'The connector is disabled.', 'Enable it, or send to another one.'),
  CONNECTOR_NOT_EMPTY: entry(
    'never',
    'Messages of the connector wait or are in quarantine, and would be lost.',
    'Let them be delivered, export them, or remove the connector with discard=true.',
  ),
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
  REQUEST_TIMEOUT: entry(
    'later',
    'The request did not arrive within the allowed time.',
    'Send it again, faster or in smaller parts.',
  ),
  HOST_FORBIDDEN: entry(
    'never',
    "The request's Host header names a host that this server does not go by.",
    'Use http://localhost or an IP address, or add the name to server.hosts.',
  ),
  ORIGIN_FORBIDDEN: entry(
    'never',
    'The request comes from a web page of another site.',
    'Only the own pages may act through a browser; other programs send no Origin header.',
  ),
  PORT_TAKEN: entry('never', 'The port is in use by another process.', 'Stop that process or choose another port.'),
  SERVER_EXPOSED: entry(
    'never',
    'The server would be reachable from other machines without protection.',
    'Give it tokens and TLS, bind it to 127.0.0.1, or set server.insecure: true if you know why.',
  ),
  SERVICE_UNREACHABLE: entry(
    'later',
    'The running service does not answer.',
    'Look at its log; start it again if it hangs.',
  ),
  INTERNAL: entry('later', 'Something unforeseen failed.', 'Look at the log; please report it.'),

  // Inputs
  FOLDER_UNUSABLE: entry(
    'later',
    'The folder of an input, or done/ or failed/ inside it, cannot be read or written.',
    'Check that it exists, is a real folder and grants this process the right to read, write and rename in it.',
  ),
  FILE_UNREADABLE: entry('never', 'A file cannot be read.', 'Check its rights, then move it back into the folder.'),
  FILE_UNSUPPORTED: entry(
    'never',
    'The kind of the file is not known.',
    'Name it .csv or .json, or set contentType of the input.',
  ),
  FILE_CHANGED: entry(
    'never',
    'A file was changed while it was read, so that it was not complete when it was taken.',
    'Raise settleTime, or let the producer write under another name and rename at the end.',
  ),
  SENSOR_FAILED: entry(
    'later',
    'A sensor of this machine could not be read.',
    'It is left out until it answers; remove it from sensors if it never will.',
  ),

  // Connection
  BROKER_URL_INVALID: entry(
    'never',
    "The broker's URL cannot be used.",
    'Write it like mqtts://broker.example.com:8883, without user name and password.',
  ),
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

  // Warnings
  CERTIFICATE_EXPIRES: entry(
    'never',
    'A certificate expires soon or has expired.',
    'Renew it; a changed file is read at the next connection.',
  ),
  SESSION_LOST: entry(
    'now',
    'The broker had lost our session.',
    'Nothing to do: what was in doubt was sent again and counted. Let the broker keep sessions on disk for exactly once; where twice does harm, set messageIdProperty (MQTT 5), so that receivers can tell.',
  ),
  DELIVERY_DOWNGRADED: entry(
    'never',
    'The broker does not grant the delivery that was asked for.',
    'Use a broker with QoS 2 where exactly once matters, or set qos to what it grants.',
  ),
  QOS2_REFUSED: entry(
    'never',
    'The broker speaks MQTT 3.1.1, closes the connection at every message of QoS 2, and has never taken one.',
    'Set qos to 1, or ask the operator of the broker to allow QoS 2. Messages that carry qos 2 themselves need it, too.',
  ),
  RETAIN_UNAVAILABLE: entry(
    'never',
    'The broker keeps no retained messages.',
    'Set retain: false, or allow it at the broker.',
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

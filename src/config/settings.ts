/**
 * The settings of a connection to a broker. Each is declared here once; its type, check, default, help, JSON Schema
 * and its line in docs/configuration.md come from this declaration.
 */
import { z } from 'zod';
import { NorthError } from '../core/error.js';
import { joinTopic, topicProblem } from '../core/topic.js';
import { type BrokerUrl, parseBrokerUrl } from './broker-url.js';
import { duration, seconds, size } from './quantity.js';
import { filePath, secret } from './secret.js';

/** The longest time that MQTT 5 can express, which it takes as "never" [MQTT 5.0 §3.1.2.11.2]. */
export const NEVER_SECONDS = 0xffff_ffff;

/** Most connections of one connector to its broker. */
export const CONNECTIONS_MAX = 16;

const brokerUrl = () =>
  z
    .string()
    .meta({ examples: ['mqtts://broker.example.com:8883'] })
    .superRefine((text, context) => {
      try {
        parseBrokerUrl(text);
      } catch (error) {
        if (!(error instanceof NorthError)) throw error;
        const message = error.message.replace(/^The URL /, '').replace(/\.$/, '');
        context.addIssue({ code: 'custom', message, params: { code: error.code, hint: error.remedy } });
      }
    });

const caFilePath = () =>
  filePath()
    .exactOptional()
    .describe('PEM file with the authority (or the self-signed certificate) that vouches for the broker.');

/** How we show who we are. `caFilePath` says how the broker does, so every type may have it. */
export const authenticationSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('none').describe('No user name and no certificate.'),
    caFilePath: caFilePath(),
  }),
  z.strictObject({
    type: z.literal('basic').describe('User name and password.'),
    username: mqttText().min(1).describe('The user name at the broker.'),
    password: secret().describe('The password of that user.'),
    caFilePath: caFilePath(),
  }),
  z.strictObject({
    type: z.literal('cert').describe('A client certificate.'),
    certFilePath: filePath().describe('PEM file with our certificate, followed by its intermediates.'),
    keyFilePath: filePath().describe('PEM file with the private key of that certificate.'),
    caFilePath: caFilePath(),
  }),
]);

/** CONNECT has two bytes for the length of each thing that it carries [MQTT 5.0 §1.5.4, §1.5.6]. */
const BINARY_SIZE_MAX_BYTES = 65_535;

/** Text that MQTT can carry: UTF-8 of at most 65,535 bytes without NUL [MQTT 5.0 §1.5.4]. */
function mqttText() {
  return z
    .string()
    .refine((text) => !/[\0\p{Surrogate}]/u.test(text), { error: 'must not contain NUL or broken Unicode' })
    .refine((text) => Buffer.byteLength(text) <= 65_535, { error: 'must be at most 65535 bytes long' });
}

function topicText() {
  return mqttText().superRefine((text, context) => {
    const problem = text === '' ? undefined : topicProblem(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });
}

const willSchema = z.strictObject({
  topic: topicText().min(1).describe('Topic of the will; `topicPrefix` is put in front of it.'),
  payload: z
    .string()
    .refine((text) => Buffer.byteLength(text) <= BINARY_SIZE_MAX_BYTES, {
      error: `must be at most ${BINARY_SIZE_MAX_BYTES} bytes long`,
    })
    .default('')
    .describe('What is published, as text.'),
  qos: qos().default(1).describe('Delivery of the will.'),
  retain: z.boolean().default(false).describe('Keep the will for later subscribers.'),
  delay: seconds({ min: 0, max: NEVER_SECONDS })
    .prefault('0 s')
    .describe('How long the broker waits for us to come back before it publishes the will (MQTT 5).'),
});

function qos() {
  return z.literal([0, 1, 2], { error: 'must be 0, 1 or 2' });
}

export const rateSchema = z.strictObject({
  messagesPerSecond: z.number().min(0).max(10_000_000).default(0).describe('0 sets no limit.'),
  bytesPerSecond: size({ min: 0, max: 1024 ** 4 })
    .prefault('0 B')
    .describe('Payload and topic together; 0 sets no limit.'),
});

const userPropertiesSchema = z
  .record(mqttText(), z.union([mqttText(), z.array(mqttText())], { error: 'must be a text or a list of texts' }))
  .transform((record): readonly (readonly [name: string, value: string])[] =>
    Object.entries(record).flatMap(([name, value]) => [value].flat().map((text) => [name, text] as const)),
  );

const PROTOCOL_VERSIONS = new Map<unknown, ProtocolVersion>([
  ['auto', 'auto'],
  ['5', '5'],
  [5, '5'],
  ['3.1.1', '3.1.1'],
  [4, '3.1.1'],
]);
export type ProtocolVersion = 'auto' | '5' | '3.1.1';

const protocolVersionSchema = z
  .literal(['auto', '5', 5, '3.1.1', 4], { error: 'must be auto, 5 or 3.1.1' })
  .transform((version): ProtocolVersion => PROTOCOL_VERSIONS.get(version) ?? 'auto');

const minTlsVersionSchema = z
  .literal(['1.2', 1.2, 'TLSv1.2', '1.3', 1.3, 'TLSv1.3'], { error: 'must be 1.2 or 1.3' })
  .transform((version): 'TLSv1.2' | 'TLSv1.3' => (String(version).endsWith('1.3') ? 'TLSv1.3' : 'TLSv1.2'));

const settingsShape = z.strictObject({
  url: brokerUrl().describe(
    'The broker: mqtt, tcp, mqtts, ssl, tls, ws or wss, then host[:port], and for websockets a path. Without a port: ' +
      '1883, 8883 with TLS, 80 or 443 for websockets. User name and password go to `authentication`.',
  ),
  brokers: z
    .array(brokerUrl())
    .max(32)
    .default([])
    .describe('Further brokers with the same data, tried in this order when `url` cannot be reached.'),
  qos: qos()
    .default(1)
    .describe(
      'Delivery: 0 not acknowledged (may be lost and, after a crash, repeated), 1 at least once, 2 exactly once. A ' +
        'message may carry its own.',
    ),
  persistent: z.boolean().exactOptional().meta({
    description: 'The broker keeps our session over restarts of either side. Needs QoS 1 or 2; QoS 2 needs it.',
    'x-default': 'true when qos is 1 or 2',
  }),
  rejectUnauthorized: z
    .boolean()
    .default(true)
    .describe('Refuse a broker whose certificate cannot be verified. Only false in a test.'),
  reconnectPeriod: duration({ min: 100, max: 300_000 })
    .prefault('10 s')
    .describe('Time between attempts to reconnect.'),
  reconnectPeriodMax: duration({ min: 100, max: 3_600_000 }).exactOptional().meta({
    description: 'When larger than `reconnectPeriod`, the time between attempts grows up to this, with jitter.',
    'x-default': 'the same as reconnectPeriod',
  }),
  connectTimeout: duration({ min: 100, max: 300_000 })
    .prefault('10 s')
    .describe('Longest wait for a connection, from dialling until the broker has accepted us.'),
  authentication: authenticationSchema.prefault({ type: 'none' }).describe('How we show the broker who we are.'),
  protocolVersion: protocolVersionSchema
    .prefault('auto')
    .describe('auto: MQTT 5, and 3.1.1 where the broker refuses it; or fixed to 5 or 3.1.1.'),
  clientId: mqttText().min(1).exactOptional().meta({
    description: 'Under which name the broker knows us. No two clients of a broker may have the same.',
    'x-default': 'made once for the connector and kept',
  }),
  keepalive: seconds({ min: 0, max: 65_535 })
    .prefault('60 s')
    .describe('A ping goes out when nothing else did for so long. 0 switches it off; a dead line is then seen late.'),
  ackTimeout: duration({ min: 1000, max: 600_000 })
    .prefault('30 s')
    .describe('An acknowledgement that takes longer closes the connection, and what is in doubt is sent again.'),
  sessionExpiryInterval: z
    .union([z.literal('never').transform(() => NEVER_SECONDS), seconds({ min: 0, max: NEVER_SECONDS })], {
      error: 'must be never, or a time such as 12 h or 7 d (a bare number is seconds)',
    })
    .prefault('7 d')
    .describe('How long the broker keeps our session while we are away (MQTT 5, persistent). It may grant less.'),
  will: willSchema.exactOptional().describe('Last will: what the broker publishes when it loses us.'),
  retain: z.boolean().default(false).describe('Ask the broker to keep the last message of each topic.'),
  messageExpiry: seconds({ min: 0, max: NEVER_SECONDS })
    .prefault('0 s')
    .describe(
      'A message older than this is worth nothing and is not delivered. 0: never. A message may carry its own.',
    ),
  userProperties: userPropertiesSchema
    .prefault({})
    .describe('MQTT 5 user properties of every message: name and text, or name and a list of texts.'),
  topicPrefix: topicText().default('').describe('Put in front of every topic, with exactly one slash between the two.'),
  messageIdProperty: mqttText().min(1).exactOptional().meta({
    description: 'Name of the MQTT 5 user property that carries the stable id of each message.',
    'x-default': 'none: no such property',
  }),
  alpn: z
    .union([z.string().min(1).max(255), z.array(z.string().min(1).max(255)).max(16)])
    .transform((names) => [names].flat())
    .prefault([])
    .describe('TLS application protocol, as some platforms want on port 443 (x-amzn-mqtt-ca).'),
  servername: z.string().min(1).max(253).exactOptional().meta({
    description: 'Name asked for in TLS and looked for in the certificate.',
    'x-default': 'the host of the URL',
  }),
  keyPassphrase: secret().exactOptional().describe('Passphrase of `authentication.keyFilePath`, when it is encrypted.'),
  minTlsVersion: minTlsVersionSchema.prefault('1.2').describe('Lowest TLS version that is accepted: 1.2 or 1.3.'),
  rateLimit: rateSchema
    .prefault({})
    .describe(
      'Limit that the broker sets to a client, for all `connections` together. Where `caching.throttling` is set too, the ' +
        'smaller one holds.',
    ),
  inflightMax: z
    .int()
    .min(1)
    .max(65_535)
    .default(65_535)
    .describe(
      'Most messages of a connection whose acknowledgement is awaited. The window finds its size below this by itself.',
    ),
  connections: z
    .int()
    .min(1)
    .max(CONNECTIONS_MAX)
    .default(1)
    .describe(
      'Connections that share the messages, where broker or platform limits each of them. A topic always goes by the ' +
        'same one, so that order holds per topic. The second has the client id with -2 at its end, and so on. ' +
        '`rateLimit` and the cache are shared out evenly; only the first one has the `will`.',
    ),
});

/** The settings as a user writes them; parsing gives `ConnectionSettings`. */
export const settingsSchema = settingsShape
  .superRefine(checkTogether, { when: ({ value }) => typeof value === 'object' && value !== null })
  .transform((settings) => ({
    ...settings,
    persistent: settings.persistent ?? settings.qos > 0,
    reconnectPeriodMax: settings.reconnectPeriodMax ?? settings.reconnectPeriod,
  }));

/**
 * Times as their units say: durations in milliseconds; `keepalive`, `sessionExpiryInterval`, `messageExpiry` and
 * `will.delay` in seconds, as on the wire.
 */
export type ConnectionSettings = z.output<typeof settingsSchema>;
export type Authentication = ConnectionSettings['authentication'];
export type Will = NonNullable<ConnectionSettings['will']>;

/** The brokers in the order in which they are tried. */
export function brokerUrls(settings: Pick<ConnectionSettings, 'url' | 'brokers'>): BrokerUrl[] {
  return [settings.url, ...settings.brokers].map(parseBrokerUrl);
}

/** Each connection of a connector has a client id of its own; the first one that of the connector. */
export function clientIdOfConnection(clientId: string, number: number): string {
  return number === 1 ? clientId : `${clientId}-${number}`;
}

// Runs also when single settings are wrong, so that all problems are told at once; hence the checks of each value.
function checkTogether(settings: Partial<z.output<typeof settingsShape>>, context: z.RefinementCtx): void {
  if (settings.qos === 0 && settings.persistent === true) {
    context.addIssue({
      code: 'custom',
      path: ['persistent'],
      message: 'needs qos 1 or 2: at qos 0 the broker has nothing to keep',
      params: { hint: 'Set qos: 1, or remove persistent.' },
    });
  }
  const { reconnectPeriod, reconnectPeriodMax } = settings;
  if (isNumber(reconnectPeriod) && isNumber(reconnectPeriodMax) && reconnectPeriodMax < reconnectPeriod) {
    context.addIssue({
      code: 'custom',
      path: ['reconnectPeriodMax'],
      message: 'is smaller than reconnectPeriod',
      params: { hint: 'Give a larger time, or remove it to wait the same time after every attempt.' },
    });
  }
  const { clientId, connections } = settings;
  const isSharing = typeof clientId === 'string' && isNumber(connections) && connections > 1;
  if (isSharing && Buffer.byteLength(clientIdOfConnection(clientId, connections)) > BINARY_SIZE_MAX_BYTES) {
    context.addIssue({
      code: 'custom',
      path: ['clientId'],
      message: `must be at most ${BINARY_SIZE_MAX_BYTES} bytes long together with -${connections}`,
    });
  }
  // Values that are wrong by themselves are told as such, and may be anything.
  const topic: unknown = settings.will?.topic;
  const { topicPrefix } = settings;
  if (typeof topic !== 'string' || typeof topicPrefix !== 'string') return;
  if (Buffer.byteLength(joinTopic(topicPrefix, topic)) > BINARY_SIZE_MAX_BYTES) {
    context.addIssue({
      code: 'custom',
      path: ['will', 'topic'],
      message: `must be at most ${BINARY_SIZE_MAX_BYTES} bytes long together with topicPrefix`,
    });
  }
}

// A value that is no number may be anything, also what throws when it is compared.
function isNumber(value: unknown): value is number {
  return typeof value === 'number';
}

/** The HTTP server: console, API and metrics. */
import { z } from 'zod';
import { isLoopback } from './broker-url.js';
import { duration, size } from './quantity.js';
import { filePath, Secret, secret } from './secret.js';

/** From the least to the most: a role may do what those before it may, but a producer only hands in content. */
export const ROLES = ['producer', 'viewer', 'operator', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

const tokenSchema = z.strictObject({
  name: z.string().min(1).max(100).describe('Who uses it, for logs and the audit trail. Unique.'),
  secret: secret().describe('What a request carries as `Authorization: Bearer …`.'),
  role: z
    .enum(ROLES)
    .describe('producer hands in content; viewer sees; operator also acts on the cache; administrator may do all.'),
  connectors: z.array(z.string()).min(1).exactOptional().meta({
    description: 'Connectors that it is limited to, by id.',
    'x-default': 'all connectors',
  }),
});

const tlsSchema = z.strictObject({
  certFile: filePath().describe('PEM file with the certificate, followed by its intermediates.'),
  keyFile: filePath().describe('PEM file with its private key.'),
});

export const serverSchema = z
  .strictObject({
    host: z
      .string()
      .min(1)
      .max(253)
      .default('127.0.0.1')
      .describe('Address to listen on. Any but a loopback address needs tokens and TLS, or `insecure: true`.'),
    port: z.int().min(0).max(65_535).default(8080).describe('0 takes any free port.'),
    tokens: z
      .array(tokenSchema)
      .max(10_000)
      .prefault([])
      .describe('With none, the API is open to this machine. With any, each request must carry one.'),
    tls: tlsSchema.exactOptional().describe('Serve HTTPS with this certificate.'),
    insecure: z
      .boolean()
      .default(false)
      .describe('Listen on other addresses without tokens or without TLS all the same.'),
    hosts: z
      .array(
        z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/, { error: 'must be a host name, without a port' }),
      )
      .max(100)
      .default([])
      .describe('Further names that it goes by, such as that of a proxy in front. Without tokens, others are refused.'),
    maxBodySize: size({ min: 1024, max: 4 * 1024 ** 3 })
      .prefault('64 MiB')
      .describe('Largest request body, after decompression.'),
    idempotencyRetention: duration({ min: 60_000, max: 90 * 86_400_000 })
      .prefault('24 h')
      .describe(
        'How long an Idempotency-Key is remembered. When all of a connector take more than a quarter of its ' +
          '`caching.maxSize`, the oldest are forgotten before, with a warning.',
      ),
  })
  .superRefine(checkTogether, { when: ({ value }) => typeof value === 'object' && value !== null });

/** Sizes in bytes, times in milliseconds. */
export type ServerConfig = z.output<typeof serverSchema>;
export type TokenConfig = ServerConfig['tokens'][number];

// Runs also when single settings are wrong, so that all problems are told at once; hence the checks of each value.
function checkTogether(server: Partial<ServerConfig>, context: z.RefinementCtx): void {
  const tokens = Array.isArray(server.tokens) ? server.tokens : [];
  const names = new Set<string>();
  const secrets = new Set<string>();
  for (const [index, token] of tokens.entries()) {
    const report = (key: string, message: string, hint: string) => {
      const params = { code: 'CONFIG_NAME_TAKEN', hint };
      context.addIssue({ code: 'custom', path: ['tokens', index, key], message, params });
    };
    const name = token?.name;
    if (typeof name === 'string' && names.has(name)) report('name', 'is used twice', 'Give each token its own name.');
    names.add(name);
    if (!(token?.secret instanceof Secret)) continue;
    const secret = token.secret.reveal();
    if (secrets.has(secret)) report('secret', 'is that of another token, too', 'Give each token its own secret.');
    secrets.add(secret);
  }

  const { host, insecure } = server;
  if (typeof host !== 'string' || insecure === true || isLoopback(host)) return;
  const lacking = [...(tokens.length > 0 ? [] : ['tokens']), ...(server.tls === undefined ? ['tls'] : [])];
  if (lacking.length === 0) return;
  context.addIssue({
    code: 'custom',
    path: ['host'],
    message: `is reachable from other machines, and ${lacking.join(' and ')} ${lacking.length > 1 ? 'are' : 'is'} not set`,
    params: { code: 'SERVER_EXPOSED' },
  });
}

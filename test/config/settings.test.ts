import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { cachingSchema } from '../../src/config/caching.js';
import { connectorSchema } from '../../src/config/connector.js';
import { Secret } from '../../src/config/secret.js';
import { serverSchema } from '../../src/config/server.js';
import { brokerUrls, NEVER_SECONDS, settingsSchema } from '../../src/config/settings.js';

const url = 'mqtt://127.0.0.1';

function settingsOf(settings: Record<string, unknown>) {
  return settingsSchema.parse({ url, ...settings });
}

function isRefused(settings: Record<string, unknown>): boolean {
  return !settingsSchema.safeParse({ url, ...settings }).success;
}

test('what goes into CONNECT is not longer than its length field can say', () => {
  const password = (text: string) => ({ authentication: { type: 'basic', username: 'u', password: text } });
  const will = (payload: string) => ({ will: { topic: 't', payload } });
  // The second letter has two bytes.
  for (const [fits, tooLong] of [
    ['x'.repeat(65_535), 'x'.repeat(65_536)],
    ['\u00fc'.repeat(32_767), '\u00fc'.repeat(32_768)],
  ] as const) {
    assert.equal(isRefused(password(fits)), false);
    assert.equal(isRefused(password(tooLong)), true);
    assert.equal(isRefused(will(fits)), false);
    assert.equal(isRefused(will(tooLong)), true);
  }
  const topicPrefix = 'p'.repeat(65_000);
  assert.equal(isRefused({ topicPrefix, will: { topic: 't'.repeat(534) } }), false);
  assert.equal(isRefused({ topicPrefix, will: { topic: 't'.repeat(535) } }), true);
});

test('a connector with only id and URL has every default', () => {
  const connector = connectorSchema.parse({ id: 'a', settings: { url } });
  assert.deepEqual(connector, {
    id: 'a',
    name: 'a',
    description: '',
    enabled: true,
    settings: {
      url,
      brokers: [],
      qos: 1,
      persistent: true,
      rejectUnauthorized: true,
      reconnectPeriod: 10_000,
      reconnectPeriodMax: 10_000,
      connectTimeout: 10_000,
      authentication: { type: 'none' },
      protocolVersion: 'auto',
      keepalive: 60,
      ackTimeout: 30_000,
      sessionExpiryInterval: 7 * 86_400,
      retain: false,
      messageExpiry: 0,
      userProperties: [],
      topicPrefix: '',
      alpn: [],
      minTlsVersion: 'TLSv1.2',
      rateLimit: { messagesPerSecond: 0, bytesPerSecond: 0 },
      inflightMax: 65_535,
      connections: 1,
    },
    caching: {
      maxSize: 10 * 1024 ** 3,
      onFull: 'reject',
      maxAge: 0,
      throttling: { messagesPerSecond: 0, bytesPerSecond: 0 },
      quarantine: { retentionDuration: 0 },
      archive: { enabled: false, retentionDuration: 72 * 3_600_000 },
    },
    transformers: [],
  });
});

/** Every setting with a range: what is taken at both ends, and what is refused just beyond. */
const RANGES: readonly [
  key: string,
  taken: readonly (readonly [written: unknown, value: unknown])[],
  refused: readonly unknown[],
][] = [
  [
    'qos',
    [
      [0, 0],
      [1, 1],
      [2, 2],
    ],
    [-1, 3, 0.5, '1', null, true],
  ],
  [
    'reconnectPeriod',
    [
      [100, 100],
      [300_000, 300_000],
      ['100 ms', 100],
      ['5 min', 300_000],
      ['1.5 s', 1500],
    ],
    [99, 300_001, '99 ms', '301 s', 100.5, -100, '10', 'soon', '1 week', null, true, Number.NaN],
  ],
  [
    'connectTimeout',
    [
      [100, 100],
      [300_000, 300_000],
    ],
    [99, 300_001, Number.POSITIVE_INFINITY],
  ],
  [
    'reconnectPeriodMax',
    [
      [10_000, 10_000],
      ['1 h', 3_600_000],
    ],
    [9999, 3_600_001],
  ],
  [
    'connections',
    [
      [1, 1],
      [16, 16],
    ],
    [0, 17, 1.5, '4', null, true],
  ],
  [
    'keepalive',
    [
      [0, 0],
      [65_535, 65_535],
      ['1 s', 1],
      ['2 min', 120],
      ['30', 30],
      ['1000 ms', 1],
    ],
    [-1, 65_536, '19 h', '500 ms', 0.5],
  ],
  [
    'ackTimeout',
    [
      [1000, 1000],
      ['10 min', 600_000],
    ],
    [999, 600_001],
  ],
  [
    'sessionExpiryInterval',
    [
      [0, 0],
      [NEVER_SECONDS, NEVER_SECONDS],
      ['never', NEVER_SECONDS],
      ['12 h', 43_200],
    ],
    [-1, NEVER_SECONDS + 1, 'always'],
  ],
  [
    'messageExpiry',
    [
      [0, 0],
      [3600, 3600],
      ['1 h', 3600],
    ],
    [-1, NEVER_SECONDS + 1],
  ],
  [
    'inflightMax',
    [
      [1, 1],
      [65_535, 65_535],
    ],
    [0, 65_536, 1.5],
  ],
  [
    'protocolVersion',
    [
      ['auto', 'auto'],
      ['5', '5'],
      [5, '5'],
      ['3.1.1', '3.1.1'],
      [4, '3.1.1'],
    ],
    [3, 3.1, '3.1', 6, 'mqtt5'],
  ],
  [
    'minTlsVersion',
    [
      ['1.2', 'TLSv1.2'],
      [1.2, 'TLSv1.2'],
      [1.3, 'TLSv1.3'],
      ['TLSv1.3', 'TLSv1.3'],
    ],
    [1.1, '1.4'],
  ],
  [
    'rejectUnauthorized',
    [
      [true, true],
      [false, false],
    ],
    ['false', 0, null],
  ],
  [
    'persistent',
    [
      [true, true],
      [false, false],
    ],
    ['yes', 1],
  ],
  [
    'retain',
    [
      [true, true],
      [false, false],
    ],
    ['no'],
  ],
  [
    'clientId',
    [
      ['a', 'a'],
      ['é'.repeat(32_767), 'é'.repeat(32_767)],
    ],
    ['', 'é'.repeat(32_768), 'a\0b', '\ud800'],
  ],
  [
    'topicPrefix',
    [
      ['', ''],
      ['a/', 'a/'],
      ['$share', '$share'],
    ],
    ['a/+/', '#', 'a\0'],
  ],
  ['messageIdProperty', [['id', 'id']], ['', 1]],
  [
    'alpn',
    [
      ['mqtt', ['mqtt']],
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
    ],
    ['', [''], 1],
  ],
  ['servername', [['a.example', 'a.example']], ['']],
  [
    'brokers',
    [
      [['mqtts://b'], ['mqtts://b']],
      [[], []],
    ],
    ['mqtt://b', ['b'], Array.from({ length: 33 }, () => url)],
  ],
  [
    'userProperties',
    [
      [
        { a: 'b', c: ['d', 'e'] },
        [
          ['a', 'b'],
          ['c', 'd'],
          ['c', 'e'],
        ],
      ],
    ],
    [{ a: 1 }, [], { a: [1] }],
  ],
  [
    'rateLimit',
    [
      [
        { messagesPerSecond: 0.5, bytesPerSecond: '1 KiB' },
        { messagesPerSecond: 0.5, bytesPerSecond: 1024 },
      ],
    ],
    [{ messagesPerSecond: -1 }, { bytesPerSecond: '2 TiB' }, 5],
  ],
  ['url', [['wss://h/p', 'wss://h/p']], ['', 'h', 'mqtt://u:p@h', 5, null]],
];

for (const [key, taken, refused] of RANGES) {
  test(`${key} takes what is within its range and refuses what is not`, () => {
    for (const [written, value] of taken) {
      const settings: Record<string, unknown> = settingsOf({ [key]: written });
      assert.deepEqual(settings[key], value, inspect(written).slice(0, 60));
    }
    for (const written of refused) assert.ok(isRefused({ [key]: written }), inspect(written).slice(0, 60));
  });
}

test('persistent follows qos when it is not set, and is refused with qos 0', () => {
  assert.equal(settingsOf({ qos: 0 }).persistent, false);
  assert.equal(settingsOf({ qos: 2 }).persistent, true);
  assert.equal(settingsOf({ qos: 0, persistent: false }).persistent, false);
  assert.ok(isRefused({ qos: 0, persistent: true }));
});

test('authentication takes exactly the fields of its type, and the authority with every type', () => {
  const caFilePath = '/ca.pem';
  assert.deepEqual(settingsOf({ authentication: { type: 'none', caFilePath } }).authentication, {
    type: 'none',
    caFilePath,
  });
  const basic = settingsOf({
    authentication: { type: 'basic', username: 'u', password: 'p', caFilePath },
  }).authentication;
  assert.ok(basic.type === 'basic' && basic.password.reveal() === 'p' && basic.caFilePath === caFilePath);
  const cert = { type: 'cert', certFilePath: '/c', keyFilePath: '/k', caFilePath };
  assert.deepEqual(settingsOf({ authentication: cert }).authentication, cert);
  for (const wrong of [
    { type: 'basic', username: 'u' },
    { type: 'basic', password: 'p' },
    { type: 'basic', username: '', password: 'p' },
    { type: 'basic', username: 'u', password: '' },
    { type: 'basic', username: 'u', password: 'p', certFilePath: '/c' },
    { type: 'cert', certFilePath: '/c' },
    { type: 'none', username: 'u' },
    { type: 'ldap' },
    { username: 'u', password: 'p' },
  ]) {
    assert.ok(isRefused({ authentication: wrong }), JSON.stringify(wrong));
  }
});

test('a will has its defaults and takes no topic with wildcards', () => {
  assert.deepEqual(settingsOf({ will: { topic: 'a' } }).will, {
    topic: 'a',
    payload: '',
    qos: 1,
    retain: false,
    delay: 0,
  });
  for (const will of [{}, { topic: '' }, { topic: 'a/#' }, { topic: 'a', qos: 3 }, { topic: 'a', delay: -1 }]) {
    assert.ok(isRefused({ will }), JSON.stringify(will));
  }
});

test('the brokers come in their order, the URL first', () => {
  const urls = brokerUrls(settingsOf({ brokers: ['mqtts://b', 'ws://c'] }));
  assert.deepEqual(
    urls.map(({ display }) => display),
    ['mqtt://127.0.0.1:1883', 'mqtts://b:8883', 'ws://c:80/mqtt'],
  );
});

test('the options of the cache hold their ranges', () => {
  assert.equal(cachingSchema.parse({ maxSize: '1 MiB' }).maxSize, 1024 ** 2);
  assert.equal(cachingSchema.parse({ maxSize: '100 TiB' }).maxSize, 100 * 1024 ** 4);
  assert.equal(cachingSchema.parse({ maxSize: '20 GB' }).maxSize, 20e9);
  for (const caching of [
    { maxSize: 1024 ** 2 - 1 },
    { maxSize: '101 TiB' },
    { maxSize: '1 XB' },
    { onFull: 'drop' },
    { maxAge: '11000 d' },
    { archive: { enabled: 'yes' } },
    { quarantine: { retentionDuration: -1 } },
  ]) {
    assert.ok(!cachingSchema.safeParse(caching).success, JSON.stringify(caching));
  }
});

test('a server on another address needs tokens and TLS, or says that it is insecure', () => {
  const tokens = [{ name: 'a', secret: '0123456789abcdef', role: 'viewer' }];
  const tls = { certFile: '/c', keyFile: '/k' };
  const isAccepted = (server: unknown) => serverSchema.safeParse(server).success;
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) assert.ok(isAccepted({ host }), host);
  for (const host of ['0.0.0.0', '::', '192.168.1.1', 'gateway.local']) {
    assert.ok(!isAccepted({ host }), host);
    assert.ok(!isAccepted({ host, tokens }), host);
    assert.ok(!isAccepted({ host, tls }), host);
    assert.ok(isAccepted({ host, tls, tokens }), host);
    assert.ok(isAccepted({ host, insecure: true }), host);
  }
});

test('the ranges of the server hold, and names and secrets of tokens are unique', () => {
  const isAccepted = (server: unknown) => serverSchema.safeParse(server).success;
  const token = { name: 'a', secret: '0123456789abcdef', role: 'producer', connectors: ['a'] };
  for (const server of [
    { port: 0 },
    { port: 65_535 },
    { maxBodySize: 1024 },
    { maxBodySize: '4 GiB' },
    { tokens: [token] },
  ]) {
    assert.ok(isAccepted(server), JSON.stringify(server));
  }
  for (const server of [
    { port: -1 },
    { port: 65_536 },
    { maxBodySize: 1023 },
    { maxBodySize: '5 GiB' },
    { idempotencyRetention: '59 s' },
    { idempotencyRetention: '91 d' },
    { tokens: [token, { ...token, secret: 'another-secret-00' }] },
    { tokens: [token, { ...token, name: 'b' }] },
    { tokens: [{ ...token, role: 'root' }] },
    { tokens: [{ ...token, connectors: [] }] },
  ]) {
    assert.ok(!isAccepted(server), JSON.stringify(server));
  }
});

test('a secret shows itself to nobody but who asks by name', () => {
  const secret = new Secret('hunter2');
  const shown = [
    String(secret),
    `${JSON.stringify({ secret })}`,
    inspect({ secret }, { showHidden: true, depth: 9 }),
    inspect(structuredClone(secret)),
  ];
  for (const text of shown) assert.doesNotMatch(text, /hunter2/);
  assert.equal(secret.reveal(), 'hunter2');
});

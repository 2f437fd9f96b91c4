import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectorSchema } from '../../src/config/connector.js';
import { partConfig, partLimits, readAheadOfPart } from '../../src/connector/part-config.js';
import { sessionOptions } from '../../src/connector/settings-of.js';

const MIB = 1024 ** 2;

const config = connectorSchema.parse({
  id: 'plant',
  settings: {
    url: 'mqtt://localhost',
    rateLimit: { messagesPerSecond: 400, bytesPerSecond: 0 },
    will: { topic: 'gone' },
    inflightMax: 50,
  },
  caching: { maxSize: 100 * MIB, throttling: { messagesPerSecond: 1000, bytesPerSecond: 4000 } },
  transformers: [{ type: 'ignore' }],
});

test('each part has its share of the rates, a window and a client id of its own, and only the first one the will', () => {
  for (let part = 1; part <= 4; part++) {
    const options = sessionOptions(partConfig(config, part, 4, 'press'), '0badcafe');
    assert.deepEqual(
      [options.messagesPerSecond, options.bytesPerSecond, options.inflightMax, options.clientId, options.will?.topic],
      [100, 1000, 50, part === 1 ? 'press' : `press-${part}`, part === 1 ? 'gone' : undefined],
    );
    assert.deepEqual(partConfig(config, part, 4, 'press').transformers, []);
  }
});

test('no limit of the rate stays none', () => {
  const free = connectorSchema.parse({ id: 'plant', settings: { url: 'mqtt://localhost' } });
  const options = sessionOptions(partConfig(free, 2, 4, 'press'), '0badcafe');
  assert.deepEqual([options.messagesPerSecond, options.bytesPerSecond], [0, 0]);
});

test('the size of the cache is shared out evenly, without what parts out of use take of it, and is never none', () => {
  assert.equal(partLimits(config, 4, 0).maxSizeBytes, 25 * MIB);
  assert.equal(partLimits(config, 4, 20 * MIB).maxSizeBytes, 20 * MIB);
  assert.equal(partLimits(config, 4, 99 * MIB).maxSizeBytes, MIB);
});

test('what is read ahead is shared out, too', () => {
  assert.deepEqual([1, 2, 4, 16].map(readAheadOfPart), [4 * MIB, 2 * MIB, MIB, MIB / 2]);
});

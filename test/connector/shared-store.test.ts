import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Receipt } from '../../src/connector/connector.js';
import { partOf } from '../../src/connector/sharing.js';
import { Random } from '../simulation/random.js';
import { type Death, RealParts } from './real-parts.js';

const TOPICS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];

interface Options {
  key?: string;
  position?: { source: string; value: string };
  death?: Death;
  topics?: readonly string[];
}

function accept(parts: RealParts, text: string, options: Options = {}): Promise<Receipt> {
  const { key, position, death, topics = TOPICS } = options;
  const elements = topics.map((topic) => ({ topic, payload: text }));
  const lane = { lane: 'alert' };
  return parts.acceptance(death).accept(
    { type: 'messages', elements: [...elements, { topic: topics[0], payload: text, ...lane }] },
    {
      source: 'test',
      ...(key === undefined ? {} : { idempotencyKey: key }),
      ...(position === undefined ? {} : { position }),
    },
  );
}

/** Each topic has this text once, and the first one once more in its lane of alerts. */
function assertOnce(parts: RealParts, text: string, topics: readonly string[] = TOPICS): void {
  const found = parts.byTopic();
  for (const [index, topic] of topics.entries()) {
    const texts = (found.get(topic) ?? []).filter((one) => one === text);
    assert.equal(texts.length, index === 0 ? 2 : 1, `${text} of ${topic}`);
  }
}

/** Every moment of a death, with different parts that have got what was under way. */
function* deaths(appendsMax: number): Generator<Death> {
  for (let afterAppends = 0; afterAppends <= appendsMax; afterAppends++) {
    for (const stored of afterAppends % 2 === 0 ? [0b0000, 0b0101] : [0b1010, 0b1111]) yield { afterAppends, stored };
  }
}

describe('content for several parts', () => {
  test('is stored by the part of each topic, and the receipt counts all of it', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    const receipt = await accept(parts, 'one');
    assert.equal(receipt.accepted, TOPICS.length + 1);
    assertOnce(parts, 'one');
    for (let number = 1; number <= 4; number++) {
      for (const { topic } of parts.waiting(number)) assert.equal(partOf(Buffer.from(topic), 4), number);
    }
  });

  test('with a key is stored once, whenever the process dies, and its repetition gets the first receipt', async () => {
    let died = 0;
    for (const death of deaths(6)) {
      const parts = new RealParts(4);
      const first = await accept(parts, 'one', { key: 'k', death }).catch(() => undefined);
      if (first === undefined) died++;
      const second = await accept(parts, 'one', { key: 'k' });
      const third = await accept(parts, 'one', { key: 'k' });
      assert.deepEqual(third, second);
      if (first !== undefined) assert.deepEqual(second, first);
      assertOnce(parts, 'one');
      parts.close();
    }
    assert.ok(died >= 8, `${died} died`);
  });

  test('with a key that came with other content is refused, and nothing of it is stored', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    for (const [index, topic] of TOPICS.entries()) {
      const key = `key ${index}`;
      await accept(parts, 'one', { key, topics: [topic] });
      const before = parts.byTopic();
      await assert.rejects(accept(parts, 'two', { key }), { code: 'IDEMPOTENCY_KEY_REUSED' });
      assert.deepEqual(parts.byTopic(), before);
    }
  });

  test('with a position is stored once, whenever the process dies, when it is handed in from there again', async () => {
    for (const death of deaths(7)) {
      const parts = new RealParts(4);
      const positionAt = (value: string) => ({ position: { source: 'lines', value } });
      await accept(parts, 'one', positionAt('1'));
      await accept(parts, 'two', { ...positionAt('2'), death }).catch(() => undefined);
      parts.acceptance();
      const stored = await parts.part(1).position('lines');
      if (stored === '1') await accept(parts, 'two', positionAt('2'));
      assertOnce(parts, 'one');
      assertOnce(parts, 'two');
      assert.equal(await parts.part(1).position('lines'), '2');
      parts.close();
    }
  });

  test('with a position is taken anew when it is handed in anew on purpose', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    for (const value of ['1', '0', '1']) await accept(parts, value, { position: { source: 'lines', value } });
    assert.equal(
      parts
        .byTopic()
        .get('b')
        ?.filter((text) => text === '1').length,
      2,
    );
  });

  test('that a full part refuses is refused; tried again without a key, only the full one is asked until it takes it', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    const acceptance = parts.acceptance();
    const content = { type: 'messages', elements: TOPICS.map((topic) => ({ topic, payload: 'x' })) } as const;
    const full = partOf(Buffer.from('a'), 4);
    parts.full.add(full);
    await assert.rejects(acceptance.accept(content, { source: 'test' }), { code: 'CACHE_FULL' });
    assert.ok(parts.asked.length > 1);
    for (let attempt = 0; attempt < 3; attempt++) {
      parts.asked.length = 0;
      await assert.rejects(acceptance.accept(content, { source: 'test' }), { code: 'CACHE_FULL' });
      assert.deepEqual(parts.asked, [full]);
    }
    parts.full.clear();
    await acceptance.accept(content, { source: 'test' });
    const counts = TOPICS.map((topic) => parts.byTopic().get(topic)?.length);
    assert.deepEqual(
      counts,
      TOPICS.map((topic) => (partOf(Buffer.from(topic), 4) === full ? 1 : 2)),
    );
  });

  test('that a full part refuses is completed by a repetition with the key, when there is room', async (t) => {
    const parts = new RealParts(4);
    t.after(() => parts.close());
    for (let full = 1; full <= 4; full++) {
      parts.full.add(full);
      const text = `while ${full} is full`;
      const refused = await accept(parts, text, { key: text }).catch(({ code }) => code);
      assert.equal(refused, 'CACHE_FULL');
      parts.full.clear();
      await accept(parts, text, { key: text });
      assertOnce(parts, text);
    }
  });
});

describe('a key from before the number of connections was changed', () => {
  for (const [from, to] of [
    [4, 2],
    [2, 4],
    [1, 4],
    [4, 1],
  ] as const) {
    test(`is known after a change from ${from} to ${to}, and its content is completed once`, async () => {
      let incomplete = 0;
      for (const death of [undefined, ...deaths(6)]) {
        const parts = new RealParts(from);
        // What waits is sent before the number changes; without a key, these topics would be taken again.
        await accept(parts, 'one', { key: 'k', ...(death === undefined ? {} : { death }) }).catch(() => incomplete++);
        const before = parts.waitingCount;
        parts.settleAll();
        parts.change(to);
        const receipt = await accept(parts, 'one', { key: 'k' });
        assert.deepEqual(await accept(parts, 'one', { key: 'k' }), receipt);
        const after = parts.waitingCount;
        assert.equal(before + after, TOPICS.length + 1, JSON.stringify(death));
        parts.close();
      }
      assert.ok(incomplete > 0);
    });
  }

  test('is known after two changes, and a key of the time between, too', async () => {
    for (const [one, two, three] of [
      [4, 2, 4],
      [4, 1, 4],
      [8, 1, 3],
    ] as const) {
      for (const afterAppends of [0, 1, 2, 3, 4, 20]) {
        const death = { afterAppends, stored: 0b1010 };
        const parts = new RealParts(one);
        let taken = 0;
        const settle = () => {
          taken += parts.waitingCount;
          parts.settleAll();
        };
        await accept(parts, 'first', { key: 'first', death }).catch(() => undefined);
        settle();
        parts.change(two);
        await accept(parts, 'second', { key: 'second', death }).catch(() => undefined);
        settle();
        parts.change(three);
        for (let round = 0; round < 2; round++) {
          for (const key of ['first', 'second']) await accept(parts, key, { key });
        }
        settle();
        assert.equal(taken, 2 * (TOPICS.length + 1), JSON.stringify({ one, two, three, death }));
        parts.close();
      }
    }
  });

  test('is asked for in its old place only as long as keys are remembered', async (t) => {
    const parts = new RealParts(2);
    t.after(() => parts.close());
    await accept(parts, 'one', { key: 'k' });
    parts.settleAll();
    parts.change(4);
    parts.clock.advance(23 * 3_600_000);
    await accept(parts, 'one', { key: 'k' });
    assert.equal(parts.byTopic().size, 0);
    parts.clock.advance(2 * 3_600_000);
    await accept(parts, 'one', { key: 'k' });
    assertOnce(parts, 'one');
  });
});

test('whatever happens between deaths, repetitions and changes of the number, keyed content is there exactly once', async () => {
  for (const seed of [1, 2, 3, 4, 5, 28]) {
    const random = new Random(seed);
    const parts = new RealParts(random.pick([1, 2, 4]));
    const taken = new Map<string, number>();
    const settle = (): void => {
      for (const [topic, texts] of parts.byTopic()) {
        for (const text of texts) taken.set(`${text} ${topic}`, (taken.get(`${text} ${topic}`) ?? 0) + 1);
      }
      parts.settleAll();
    };
    const topicsOf = new Map<string, string[]>();
    const pending = new Set<string>();
    const ask = async (key: string, death?: Death): Promise<void> => {
      try {
        await accept(parts, key, { key, topics: topicsOf.get(key)!, ...(death === undefined ? {} : { death }) });
        pending.delete(key);
      } catch (error) {
        assert.match(String(error), /The process is gone/, `seed ${seed}`);
      }
    };
    for (let step = 0; step < 40; step++) {
      const what = random.between(0, 9);
      if (what < 5) {
        const key = `k${step}`;
        topicsOf.set(key, TOPICS.filter(() => random.between(0, 2) === 0).concat('always'));
        pending.add(key);
        await ask(key, { afterAppends: random.between(0, 7), stored: random.between(0, 15) });
      } else if (what < 8 && topicsOf.size > 0) {
        const death = { afterAppends: random.between(0, 12), stored: random.between(0, 15) };
        await ask(random.pick([...topicsOf.keys()]), death);
      } else if (what === 8) settle();
      else {
        settle();
        parts.change(random.pick([1, 2, 3, 4, 6]));
      }
      parts.clock.advance(60_000);
    }
    while (pending.size > 0) for (const key of [...pending]) await ask(key);
    settle();
    for (const [key, topics] of topicsOf) {
      for (const [index, topic] of topics.entries()) {
        assert.equal(taken.get(`${key} ${topic}`), index === 0 ? 2 : 1, `seed ${seed}: ${key} of ${topic}`);
      }
    }
    parts.close();
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinTopic, topicProblem } from '../../src/core/topic.js';

test('a topic that MQTT allows has no problem', () => {
  for (const topic of [
    'a',
    '/',
    '//',
    '$aws/rules/x/y',
    'a b',
    'ä/ö/😀',
    '\u{feff}a',
    'x'.repeat(65_535),
    'ä'.repeat(32_767),
  ]) {
    assert.equal(topicProblem(topic), undefined, topic.slice(0, 20));
  }
});

test('a topic that MQTT forbids has its problem named', () => {
  const cases: Record<string, RegExp> = {
    '': /empty/,
    'a/+/b': /wildcard "\+" at position 2/,
    '#': /wildcard "#" at position 0/,
    'a\u0000b': /NUL at position 1/,
    'a\ud800': /surrogate pair at position 1/,
    '\udc00a': /surrogate pair at position 0/,
    'a\ud800\ud800\udc00': /surrogate pair at position 1/,
    [`${'ä'.repeat(32_768)}`]: /65536 bytes/,
    ['x'.repeat(65_536)]: /65536 bytes/,
  };
  for (const [topic, problem] of Object.entries(cases)) assert.match(topicProblem(topic) ?? 'none', problem);
});

test('a topic with a character for which brokers close the connection has its problem named', () => {
  for (const code of [
    0x01, 0x09, 0x0a, 0x0d, 0x1f, 0x7f, 0x85, 0x9f, 0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1fffe, 0x10ffff,
  ]) {
    const topic = `plant/${String.fromCodePoint(code)}`;
    assert.match(topicProblem(topic) ?? 'none', /at position 6/, code.toString(16));
  }
  for (const code of [0x20, 0x7e, 0xa0, 0xfdcf, 0xfdf0, 0xfffd, 0x1fffd, 0x10fffd]) {
    assert.equal(topicProblem(`plant/${String.fromCodePoint(code)}`), undefined, code.toString(16));
  }
});

test('a prefix is joined with exactly one slash', () => {
  assert.equal(joinTopic('', '/a'), '/a');
  assert.equal(joinTopic('site', 'a'), 'site/a');
  assert.equal(joinTopic('site/', '/a'), 'site/a');
  assert.equal(joinTopic('site//', '//a/b/'), 'site/a/b/');
});

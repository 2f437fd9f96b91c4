/** Longest topic in bytes: a UTF-8 string on the wire has a two-byte length [MQTT 5.0 §1.5.4]. */
export const TOPIC_SIZE_MAX_BYTES = 65_535;

/**
 * Says why `topic` cannot be published to, or returns undefined when it can [MQTT 5.0 §4.7].
 *
 * Wildcards, NUL and lone surrogates are forbidden by the specification. Control characters and non-characters should
 * not occur, and a broker may close the connection for them [MQTT 5.0 §1.5.4], as Mosquitto does. A leading `$` is
 * allowed here, because platforms publish to such topics on purpose (AWS Basic Ingest); the caller decides.
 */
export function topicProblem(topic: string): string | undefined {
  if (topic.length === 0) return 'The topic is empty.';
  for (let i = 0; i < topic.length; i++) {
    const unit = topic.charCodeAt(i);
    if (unit === 0x2b || unit === 0x23) {
      return `The topic contains the wildcard "${topic.charAt(i)}" at position ${i}; only subscribers may use it.`;
    }
    if (unit === 0) return `The topic contains the character NUL at position ${i}.`;
    if (unit >= 0xd800 && unit <= 0xdfff) {
      const next = topic.charCodeAt(i + 1);
      if (unit >= 0xdc00 || !(next >= 0xdc00 && next <= 0xdfff)) {
        return `The topic contains half of a surrogate pair at position ${i}, which UTF-8 cannot express.`;
      }
    }
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) {
      return `The topic contains the control character ${codePointName(unit)} at position ${i}.`;
    }
    if (unit >= 0xd800) {
      const point = topic.codePointAt(i) ?? unit;
      if ((point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) === 0xfffe) {
        return `The topic contains ${codePointName(point)} at position ${i}, which is no character.`;
      }
      if (point > 0xffff) i++;
    }
  }
  if (topic.length * 3 > TOPIC_SIZE_MAX_BYTES && Buffer.byteLength(topic) > TOPIC_SIZE_MAX_BYTES) {
    return `The topic is ${Buffer.byteLength(topic)} bytes long; MQTT allows ${TOPIC_SIZE_MAX_BYTES}.`;
  }
  return undefined;
}

function codePointName(point: number): string {
  return `U+${point.toString(16).toUpperCase().padStart(4, '0')}`;
}

/**
 * The topic below a prefix, with exactly one `/` between them whatever slashes the two have there: `site/` and `/a`
 * give `site/a`. An empty prefix leaves the topic as it is.
 */
export function joinTopic(prefix: string, topic: string): string {
  if (prefix === '') return topic;
  let end = prefix.length;
  while (end > 0 && prefix.charCodeAt(end - 1) === 0x2f) end--;
  let start = 0;
  while (start < topic.length && topic.charCodeAt(start) === 0x2f) start++;
  return `${prefix.slice(0, end)}/${topic.slice(start)}`;
}

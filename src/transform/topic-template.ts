/**
 * Topics with fields in them: `plant/{site}/{pointId}`. A field is filled with a text, number or boolean of the
 * content; `{{` and `}}` stand for braces. A template is compiled once and rendered for every message.
 */
import { NorthError } from '../core/error.js';
import { topicProblem } from '../core/topic.js';
import { quote } from './element.js';

/** Looks a field up in what the template is rendered for. */
export type FieldGetter<T> = (context: T) => unknown;

/** What became of a template: the topic, or why there is none. */
export type Rendered = string | { problem: string };

export interface TopicTemplateOptions<T> {
  /** Gives the getter of a field's name; throws CONFIG_INVALID for a name that cannot be one. */
  compileField: (name: string) => FieldGetter<T>;
  /** Whether forbidden characters of fields become "_" instead of failing later. */
  clean: boolean;
  /** The place of the template in the configuration. */
  place: string;
}

const UNSAFE = /[\p{Cc}\p{Surrogate}\p{Noncharacter_Code_Point}+#]/gu;

/** A topic of the content with everything replaced by "_" that it may not have; "/" stays and makes levels. */
export function cleanTopic(text: string): string {
  return text.replace(UNSAFE, '_').replace(/^\$/, '_');
}

export class TopicTemplate<T> {
  /** True when the template begins with a field, so that the content decides how the topic begins. */
  readonly beginsWithField: boolean;
  /** The names of the fields, in order. */
  readonly fieldNames: readonly string[];
  readonly #clean: boolean;
  /** literals[0] field[0] literals[1] … field[n-1] literals[n] */
  readonly #literals: readonly string[];
  readonly #getters: readonly FieldGetter<T>[];

  constructor(text: string, options: TopicTemplateOptions<T>) {
    const { literals, names } = parseTemplate(text, options.place);
    const problem = topicProblem(literals.join('x'));
    if (problem !== undefined) throw templateError(options.place, problem);
    this.#literals = literals;
    this.fieldNames = names;
    this.#getters = names.map(options.compileField);
    this.#clean = options.clean;
    this.beginsWithField = literals[0] === '' && names.length > 0;
  }

  render(context: T): Rendered {
    const literals = this.#literals;
    const getters = this.#getters;
    let topic = literals[0]!;
    for (let i = 0; i < getters.length; i++) {
      const value = getters[i]!(context);
      let text: string;
      if (typeof value === 'string') text = value;
      else if (typeof value === 'number' || typeof value === 'boolean') text = String(value);
      else return { problem: missing(this.fieldNames[i]!, value) };
      if (text === '') return { problem: `The field {${this.fieldNames[i]!}} of the topic is empty.` };
      if (this.#clean) text = topic === '' ? cleanTopic(text) : text.replace(UNSAFE, '_');
      topic += text + literals[i + 1]!;
    }
    return topic;
  }
}

function missing(name: string, value: unknown): string {
  if (value === undefined) return `The field {${name}} of the topic is missing.`;
  return `The field {${name}} of the topic is ${quote(value)}, not a text, number or boolean.`;
}

function parseTemplate(text: string, place: string): { literals: string[]; names: string[] } {
  const literals = [''];
  const names: string[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text.charAt(at);
    if ((char === '{' || char === '}') && text.charAt(at + 1) === char) {
      literals[literals.length - 1] += char;
      at += 2;
    } else if (char === '}') {
      throw templateError(place, `a "}" without "{" at position ${at}; write "}}" for the character itself`);
    } else if (char === '{') {
      const end = text.indexOf('}', at);
      if (end < 0) throw templateError(place, `the "{" at position ${at} is not closed`);
      const name = text.slice(at + 1, end);
      if (name.trim() === '') throw templateError(place, `the field at position ${at} has no name`);
      names.push(name);
      literals.push('');
      at = end + 1;
    } else {
      literals[literals.length - 1] += char;
      at++;
    }
  }
  return { literals, names };
}

function templateError(place: string, problem: string): NorthError {
  return new NorthError('CONFIG_INVALID', `The topic template is wrong: ${problem}`, {
    place,
    remedy: 'Write literal levels and fields in braces, such as plant/{pointId}.',
  });
}

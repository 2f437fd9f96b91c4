/** A real service with one connector named `plant`, for the cases of the field. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type ServiceFolder, type ServiceProcess, serviceFolder } from '../service/service-process.js';

export interface SceneOptions {
  settings: { url: string } & Record<string, unknown>;
  caching?: Record<string, unknown>;
  transformers?: readonly Record<string, unknown>[];
  enabled?: boolean;
  /** Beside `plant`. */
  connectors?: readonly Record<string, unknown>[];
}

export interface Scene {
  readonly folder: ServiceFolder;
  /** The process that runs now. */
  service: ServiceProcess;
  /** Starts the next process on the same folder; the one before must have ended. */
  restart(): Promise<void>;
}

export function plantConfig(options: SceneOptions): Record<string, unknown> {
  const { settings, connectors = [], ...rest } = options;
  return { connectors: [{ id: 'plant', settings: { reconnectPeriod: 200, ...settings }, ...rest }, ...connectors] };
}

export async function openScene(t: TestContext, options: SceneOptions): Promise<Scene> {
  const folder = serviceFolder(plantConfig(options));
  const scene: Scene = {
    folder,
    service: await folder.start(),
    async restart() {
      assert.notEqual(scene.service.process.end, undefined, 'the process before has ended');
      scene.service = await folder.start();
    },
  };
  t.after(() => scene.service.kill());
  return scene;
}

export const MESSAGES = '/api/content?connector=plant&type=messages';

export interface Element {
  topic: string;
  payload: string;
  [more: string]: unknown;
}

export function elementsOf(count: number, topic = 't', from = 0): Element[] {
  return Array.from({ length: count }, (_, index) => ({ topic, payload: `${from + index}` }));
}

/** Hands in messages and asserts their receipt. */
export async function accept(service: ServiceProcess, elements: readonly Element[], key?: string): Promise<void> {
  const answer = await service.post(MESSAGES, elements, key === undefined ? {} : { 'idempotency-key': key });
  assert.equal(answer.status, 202, await answer.clone().text());
}

/** Nothing waits any more. */
export function untilEmpty(service: ServiceProcess, timeoutMs?: number): Promise<unknown> {
  const isEmpty = (counts: Record<string, number>): boolean => Object.values(counts).every((count) => count === 0);
  return service.until('plant', ({ cache }) => isEmpty(cache.waitingCounts), 'an empty cache', timeoutMs);
}

export async function codeOf(answer: Response): Promise<string> {
  return ((await answer.json()) as { code: string }).code;
}

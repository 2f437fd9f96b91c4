/** The service as a real process, from a configuration, with its address and its API. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../kit/deadline.js';
import { type ProcessEnd, type StartedProcess, startCli } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

export interface ServiceProcess {
  readonly process: StartedProcess;
  readonly url: string;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  put(path: string, body: unknown): Promise<Response>;
  remove(path: string): Promise<Response>;
  get(path: string): Promise<unknown>;
  /** Waits until the connector's status is as wanted, and gives it. */
  until(
    id: string,
    condition: (status: ConnectorView) => unknown,
    describe: string,
    timeoutMs?: number,
  ): Promise<ConnectorView>;
  stop(): Promise<ProcessEnd>;
  kill(): Promise<ProcessEnd>;
}

export interface ConnectorView {
  state: string;
  description: string;
  counts: Record<'command' | 'alert' | 'telemetry', { accepted: number; published: number; quarantined: number }>;
  cache: { waitingCounts: Record<'command' | 'alert' | 'telemetry', number>; quarantinedCount: number };
}

export interface ServiceFolder {
  readonly folder: string;
  readonly configFile: string;
  /** Starts `mqtt-north run` on the configuration of this folder. */
  start(env?: Record<string, string>): Promise<ServiceProcess>;
}

/** Writes the configuration into a folder of its own; JSON is YAML, too. */
export function serviceFolder(config: Record<string, unknown>): ServiceFolder {
  const folder = temporaryFolder('service');
  const configFile = join(folder, 'mqtt-north.yaml');
  const written = { dataDir: './data', server: { port: 0 }, logging: { format: 'json' }, ...config };
  writeFileSync(configFile, `${JSON.stringify(written, null, 2)}\n`);
  return { folder, configFile, start: (env = {}) => startService(folder, configFile, env) };
}

async function startService(folder: string, file: string, env: Record<string, string>): Promise<ServiceProcess> {
  const process = startCli(['run', '-c', file], {
    cwd: folder,
    env: { XDG_CONFIG_HOME: join(folder, 'config'), ...env },
  });
  const [, url = ''] = await process.waitForOutput(/"url":"(https?:[^"]+)"/, 30_000);
  const send = (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> => {
    const request: RequestInit = { method, headers };
    if (body !== undefined) {
      request.body = typeof body === 'string' ? body : JSON.stringify(body);
      request.headers = { 'content-type': 'application/json', ...headers };
    }
    return fetch(url + path, request);
  };
  const get = async (path: string): Promise<unknown> => (await send('GET', path)).json();
  return {
    process,
    url,
    post: (path, body, headers) => send('POST', path, body, headers),
    put: (path, body) => send('PUT', path, body),
    remove: (path) => send('DELETE', path),
    get,
    until: (id, condition, describe, timeoutMs) =>
      eventually(
        async () => {
          const { status } = (await get(`/api/connectors/${id}`)) as { status: ConnectorView };
          if (condition(status)) return status;
          throw new Error(JSON.stringify(status));
        },
        describe,
        timeoutMs,
      ),
    stop: () => process.kill('SIGTERM'),
    kill: () => process.kill('SIGKILL'),
  };
}

/** Time-values with running numbers as values, and the point as topic. */
export function timeValues(from: number, count: number): unknown[] {
  return Array.from({ length: count }, (_unused, index) => ({
    pointId: `point-${(from + index) % 50}`,
    timestamp: '2026-01-15T10:00:00.000Z',
    data: { value: from + index },
  }));
}

export function valuesOf(texts: readonly string[]): number[] {
  return texts.map((text) => (JSON.parse(text) as { value: number }).value);
}

/** A real browser: one headless Chromium per test process, driven over its debugging protocol. */
import { spawn } from 'node:child_process';
import WebSocket from 'ws';
import { eventually, within } from './deadline.js';
import { temporaryFolder } from './temporary-folder.js';
import { killAtEnd } from './watchdog.js';

// Without these it calls home at every start, which a closed network answers with refusals by the hundred.
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
];
const START_TIMEOUT_MS = 30_000;

export interface BrowserOptions {
  width?: number;
  height?: number;
  colorScheme?: 'light' | 'dark';
  /** User name and password that the browser gives when it is asked. */
  credentials?: { username: string; password: string };
}

export interface BrowserPage {
  /** Uncaught errors, refused resources and everything written to the console. */
  readonly problems: string[];
  /** The value of an expression in the page. Fails with what the page threw. */
  evaluate(expression: string): Promise<unknown>;
  /** Waits until the expression gives something truthy. */
  until(expression: string, describe: string, timeoutMs?: number): Promise<unknown>;
  /** A PNG picture of what is visible. */
  screenshot(): Promise<Buffer>;
  close(): Promise<void>;
}

interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  // What the protocol sends differs by method; each reader checks what it takes out.
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

class Protocol {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<
    number,
    { resolve: (result: Record<string, unknown>) => void; reject: (e: Error) => void }
  >();
  readonly #listeners = new Map<string, (message: Message) => void>();
  #nextId = 1;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#take(JSON.parse(String(data)) as Message));
    socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('The browser has ended.'));
    });
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const answer = new Promise<Record<string, unknown>>((resolve, reject) =>
      this.#waiting.set(id, { resolve, reject }),
    );
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    return within(answer, `the browser's answer to ${method}`, START_TIMEOUT_MS);
  }

  listen(sessionId: string, listener: (message: Message) => void): void {
    this.#listeners.set(sessionId, listener);
  }

  #take(message: Message): void {
    if (message.id === undefined) {
      if (message.sessionId !== undefined) this.#listeners.get(message.sessionId)?.(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error === undefined) waiting?.resolve(message.result ?? {});
    else waiting?.reject(new Error(message.error.message));
  }
}

let started: Promise<Protocol> | undefined;
let ended: Promise<unknown> | undefined;

/**
 * Ends the browser of this process, if there is one; a file that opens pages calls it after its last test. The browser
 * writes into its profile until the very end, so that the folder could not be removed otherwise.
 */
export async function closeBrowser(): Promise<void> {
  if (started === undefined) return;
  const protocol = await started;
  started = undefined;
  await protocol.send('Browser.close');
  if (ended !== undefined) await within(ended, 'the browser to end', START_TIMEOUT_MS);
}

async function startBrowser(): Promise<Protocol> {
  const profile = temporaryFolder('browser');
  const child = spawn('chromium', [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  killAtEnd(child);
  ended = new Promise((resolve) => child.once('exit', resolve));
  // The tests end when they have ended, not when the browser does.
  child.unref();
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-65_536);
  });
  const url = await eventually(
    () => /DevTools listening on (ws:\S+)/.exec(output)?.[1],
    () => `the browser to listen; it said: ${output}`,
    START_TIMEOUT_MS,
  );
  (child.stderr as unknown as { unref(): void }).unref();
  const socket = new WebSocket(url);
  await within(
    new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    }),
    'a connection to the browser',
  );
  (socket as unknown as { _socket: { unref(): void } })._socket.unref();
  return new Protocol(socket);
}

/** Opens a page of its own, with cookies and storage that no other page has. */
export async function openPage(url: string, options: BrowserOptions = {}): Promise<BrowserPage> {
  started ??= startBrowser();
  const protocol = await started;
  const { browserContextId } = await protocol.send('Target.createBrowserContext');
  const { targetId } = await protocol.send('Target.createTarget', { url: 'about:blank', browserContextId });
  const { sessionId } = await protocol.send('Target.attachToTarget', { targetId, flatten: true });
  if (typeof sessionId !== 'string') throw new Error('The browser gave no session.');
  const send = (method: string, params: object = {}) => protocol.send(method, params, sessionId);
  const problems: string[] = [];
  const { width = 1280, height = 900, colorScheme = 'light', credentials } = options;
  protocol.listen(sessionId, ({ method, params }) => {
    if (method === 'Runtime.exceptionThrown' || method === 'Log.entryAdded' || method === 'Runtime.consoleAPICalled') {
      problems.push(JSON.stringify(params).slice(0, 2000));
    } else if (method === 'Page.javascriptDialogOpening') {
      problems.push(`dialog: ${JSON.stringify(params)}`);
      void send('Page.handleJavaScriptDialog', { accept: false });
    } else if (method === 'Fetch.requestPaused') {
      void send('Fetch.continueRequest', { requestId: params?.requestId });
    } else if (method === 'Fetch.authRequired') {
      const answer = { response: 'ProvideCredentials', ...credentials };
      void send('Fetch.continueWithAuth', { requestId: params?.requestId, authChallengeResponse: answer });
    }
  });
  await send('Page.enable');
  await send('Runtime.enable');
  await send('Log.enable');
  if (credentials !== undefined) await send('Fetch.enable', { handleAuthRequests: true });
  await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: colorScheme }] });
  await send('Page.navigate', { url });

  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(`In the page: ${JSON.stringify(exceptionDetails)}`);
    return (result as { value?: unknown } | undefined)?.value;
  };
  return {
    problems,
    evaluate,
    until: (expression, describe, timeoutMs) => eventually(() => evaluate(expression), describe, timeoutMs),
    async screenshot() {
      const { data } = await send('Page.captureScreenshot', { format: 'png' });
      return Buffer.from(String(data), 'base64');
    },
    async close() {
      await protocol.send('Target.closeTarget', { targetId });
      await protocol.send('Target.disposeBrowserContext', { browserContextId });
    },
  };
}

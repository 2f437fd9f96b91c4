/**
 * The MQTT out node of Node-RED, in a flow that feeds it: a function node sends messages to it, and a complete node,
 * which hears of each that the broker has acknowledged, makes the function send the next.
 *
 * Node-RED is no dependency of this project: `NODE_RED_DIR` names a folder in which `npm install node-red` was run.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/kit/temporary-folder.js';
import { type Arrival, watchArrival } from './arrival.js';
import { measure, type Publisher } from './measurement.js';
import { readTask, type Task } from './task.js';

/** What is used of Node-RED, which declares no types. */
interface NodeRed {
  init(settings: Record<string, unknown>): void;
  start(): Promise<void>;
  runtime: { events: NodeJS.EventEmitter };
}

/** What the function nodes of the flow call, as a global of theirs. */
interface Bridge {
  setSend(send: (count: number) => void): void;
  completed(): void;
}

class NodeRedPublisher implements Publisher, Bridge {
  readonly #window: number;
  readonly #arrival: Arrival | undefined;
  #send: (count: number) => void = () => undefined;
  #sent = 0;
  #done = 0;
  #wanted = 0;
  #resolve: () => void = () => undefined;

  constructor({ window }: Task, arrival: Arrival | undefined) {
    this.#window = window;
    this.#arrival = arrival;
  }

  setSend(send: (count: number) => void): void {
    this.#send = send;
  }

  completed(): void {
    this.#done++;
    if (this.#done === this.#wanted) this.#resolve();
    else this.#fill();
  }

  acknowledged(): number {
    return this.#done;
  }

  async publish(count: number): Promise<void> {
    this.#wanted += count;
    const arrived = this.#arrival?.reach(this.#wanted);
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      this.#fill();
    });
    await arrived;
  }

  #fill(): void {
    const room = Math.min(this.#window - (this.#sent - this.#done), this.#wanted - this.#sent);
    if (room <= 0) return;
    this.#sent += room;
    this.#send(room);
  }
}

function flowOf({ port, qos, payloadSizeBytes }: Task): unknown[] {
  const place = { z: 'tab', x: 0, y: 0 };
  const sender = `
    const payload = Buffer.alloc(${payloadSizeBytes}, 0x61);
    global.get('bridge').setSend((count) => {
      for (let i = 0; i < count; i++) node.send({ payload });
    });`;
  return [
    { id: 'tab', type: 'tab', label: 'benchmark' },
    {
      id: 'broker',
      type: 'mqtt-broker',
      broker: '127.0.0.1',
      port: String(port),
      clientid: 'bench-node-red',
      autoConnect: true,
      usetls: false,
      protocolVersion: '4',
      keepalive: '60',
      cleansession: true,
    },
    { ...place, id: 'sender', type: 'function', func: '', initialize: sender, outputs: 1, libs: [], wires: [['out']] },
    {
      ...place,
      id: 'out',
      type: 'mqtt out',
      topic: 'bench/node-red',
      qos: String(qos),
      retain: 'false',
      broker: 'broker',
      wires: [],
    },
    { ...place, id: 'complete', type: 'complete', scope: ['out'], uncaught: false, wires: [['counter']] },
    {
      ...place,
      id: 'counter',
      type: 'function',
      func: "global.get('bridge').completed();",
      outputs: 0,
      libs: [],
      wires: [],
    },
  ];
}

const folder = process.env.NODE_RED_DIR;
if (folder === undefined) throw new Error('NODE_RED_DIR names the folder in which Node-RED is installed.');
const task = readTask();
const arrival = task.qos === 0 ? await watchArrival(task) : undefined;
const publisher = new NodeRedPublisher(task, arrival);
// The package is what its own documentation says about embedding it; it has no types to check that by.
const nodeRed = createRequire(join(folder, 'package.json'))('node-red') as NodeRed;
const userDir = temporaryFolder('node-red');
writeFileSync(join(userDir, 'flows.json'), JSON.stringify(flowOf(task)));
nodeRed.init({
  userDir,
  flowFile: 'flows.json',
  httpAdminRoot: false,
  httpNodeRoot: false,
  functionGlobalContext: { bridge: publisher },
  logging: { console: { level: 'fatal' } },
});
const connected = untilConnected();
await nodeRed.start();
await connected;
await measure(publisher);
process.exit(0);

async function untilConnected(): Promise<void> {
  for (;;) {
    const [{ id, status }] = await once(nodeRed.runtime.events, 'node-status');
    if (id === 'out' && status.fill === 'green') return;
  }
}

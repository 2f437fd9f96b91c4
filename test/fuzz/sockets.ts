/**
 * A broker that sends whatever it likes, over real sockets to a whole connector with its cache on disk. Afterwards it is
 * honest, and everything that was accepted has come to it or stands in quarantine.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { connectorSchema } from '../../src/config/connector.js';
import type { LiveConnector } from '../../src/connector/live-connector.js';
import { openLiveConnector } from '../../src/connector/open-connector.js';
import { isErrorCode } from '../../src/core/error-codes.js';
import { eventually } from '../kit/deadline.js';
import { type Peer, type ScriptedBroker, startScriptedBroker } from '../kit/scripted-broker.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { type BrokerSpeech, speech, spoken } from './broker-bytes.js';
import type { FuzzTarget } from './fuzz.js';
import { split } from './mutation.js';

interface Misbehaviour {
  /** When the broker begins to speak: before CONNECT, or after its honest answer to this packet. */
  moment: 'accepted' | 'connect' | 'publish';
  says: BrokerSpeech;
  /** It acknowledges nothing of its own accord. */
  isSilent: boolean;
}

export interface SocketsCase {
  connections: Misbehaviour[];
  qos: (1 | 2)[];
}

const socketsCase: fc.Arbitrary<SocketsCase> = fc.record({
  connections: fc.array(
    fc.record({
      moment: fc.constantFrom<Misbehaviour['moment']>('accepted', 'connect', 'publish', 'publish'),
      says: speech,
      isSilent: fc.boolean(),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  qos: fc.array(fc.constantFrom<1 | 2>(1, 2), { minLength: 1, maxLength: 4 }),
});

/** The broker closes so long after it has spoken. */
const CLOSE_AFTER_MS = 15;
/** A connector that pauses for longer is asked to go on, as an operator would. */
const PAUSE_MAX_MS = 400;

/** Maximum QoS 0 in a CONNACK: what is sent then may be lost, by right. */
const MAXIMUM_QOS_0 = Buffer.from([0x24, 0]);

class Subject {
  readonly cases = socketsCase;
  readonly #broker: ScriptedBroker;
  readonly #connector: LiveConnector;
  readonly #arrived = new Set<string>();
  readonly #problems: string[] = [];
  #nextNumber = 0;

  constructor(broker: ScriptedBroker, connector: LiveConnector) {
    this.#broker = broker;
    this.#connector = connector;
    connector.on('failure', ({ error }) => {
      const isExplained = isErrorCode(error.code) && error.code !== 'INTERNAL' && error.remedy !== '';
      if (!isExplained) this.#problems.push(`${error.code}: ${error.message}`);
    });
  }

  async check({ connections, qos }: SocketsCase): Promise<string> {
    const connector = this.#connector;
    const scripts = [...connections];
    let isDowngraded = false;
    const misbehaving = new WeakMap<Peer, Misbehaviour>();
    this.#broker.options = {
      onConnection: (peer) => {
        const script = scripts.shift();
        if (script === undefined) return;
        misbehaving.set(peer, script);
        misbehave(peer, script, (bytes) => {
          isDowngraded ||= bytes.includes(MAXIMUM_QOS_0);
        });
      },
      onPacket: (packet, peer) => {
        if (packet.cmd === 'publish') this.#arrived.add(packet.payload.toString());
        return misbehaving.get(peer)?.isSilent === true ? undefined : 'default';
      },
    };
    // A pause that the case before has earned ends with it.
    await connector.stop(0);
    connector.start();
    const payloads = qos.map(() => `n${this.#nextNumber++}`);
    const elements = payloads.map((payload, i) => ({ topic: 'a/b', payload, qos: qos[i] }));
    const receipt = await connector.accept({ type: 'messages', elements }, { source: 'fuzz' });
    assert.equal(receipt.accepted, payloads.length);
    await this.#untilEmpty();
    assert.deepEqual(this.#problems.splice(0), []);
    const quarantined = await this.#takeQuarantined();
    const gone = payloads.filter((payload) => !this.#arrived.has(payload) && !quarantined.has(payload));
    this.#arrived.clear();
    if (!isDowngraded) assert.deepEqual(gone, [], 'accepted, and nowhere');
    if (scripts.length > 0) return 'everything arrived before the broker had its say';
    return quarantined.size > 0 ? 'everything arrived or is in quarantine' : 'everything arrived';
  }

  async #untilEmpty(): Promise<void> {
    let pausedSinceMs: number | undefined;
    let last = '';
    await eventually(
      async () => {
        const status = await this.#connector.status();
        const { command, alert, telemetry } = status.cache.waitingCounts;
        last = `${status.description}, ${command + alert + telemetry} waiting, ${status.inflight} in flight`;
        if (command + alert + telemetry + status.inflight === 0) return true;
        if (status.state !== 'waiting') pausedSinceMs = undefined;
        else pausedSinceMs ??= performance.now();
        if (pausedSinceMs !== undefined && performance.now() - pausedSinceMs > PAUSE_MAX_MS) {
          pausedSinceMs = undefined;
          await this.#connector.stop(0);
          this.#connector.start();
        }
        return false;
      },
      () => `everything to arrive at the honest broker: ${last}`,
      15_000,
    );
  }

  /** The payloads in quarantine, each with its reason; they are removed. */
  async #takeQuarantined(): Promise<Set<string>> {
    const { messages } = await this.#connector.list({ state: 'quarantined', limit: 500 });
    if (messages.length > 0) await this.#connector.remove({ all: true });
    const payloads = messages.map(({ code, reason, record }) => {
      assert.ok(code !== undefined && isErrorCode(code) && reason !== undefined && reason !== '');
      return /n\d+$/.exec(Buffer.from(record).toString('latin1'))?.[0] ?? '';
    });
    return new Set(payloads);
  }

  async close(): Promise<void> {
    await this.#connector.close(1000);
    await this.#broker.close();
  }
}

function misbehave(peer: Peer, { moment, says }: Misbehaviour, tell: (bytes: Buffer) => void): void {
  const speak = (): void => {
    const ids = peer.packets.flatMap((packet: Packet) => (packet.cmd === 'publish' ? [packet.messageId] : []));
    const bytes = spoken(says, (index) => ids[index % Math.max(1, ids.length)]);
    tell(bytes);
    for (const piece of split(bytes, says.cuts)) peer.sendBytes(piece);
    setTimeout(() => peer.close(), CLOSE_AFTER_MS).unref();
  };
  if (moment === 'accepted') {
    speak();
    return;
  }
  let hasSpoken = false;
  peer.socket.on('data', () => {
    if (hasSpoken || !peer.packets.some(({ cmd }) => cmd === moment)) return;
    hasSpoken = true;
    speak();
  });
}

export const sockets: FuzzTarget<SocketsCase> = {
  name: 'sockets',
  open: async () => {
    const broker = await startScriptedBroker();
    const settings = { url: broker.url, qos: 1 as const, reconnectPeriod: 100, ackTimeout: 2000, connectTimeout: 1000 };
    const config = connectorSchema.parse({ id: 'fuzz', settings });
    return new Subject(broker, await openLiveConnector(config, { folder: temporaryFolder('fuzz-sockets') }));
  },
};

/**
 * Where the messages come out: the persistent subscriber in a process of its own, behind a proxy, and markers that tell
 * when it has got everything.
 */
import { join } from 'node:path';
import { eventually } from '../kit/deadline.js';
import type { Mosquitto } from '../kit/mosquitto.js';
import { startProxy, type Proxy as TcpProxy } from '../kit/proxy.js';
import { openSubscriber, type Subscriber } from '../kit/subscriber.js';
import { type SubscriberProcess, startSubscriberProcess } from '../kit/subscriber-process.js';
import { Capture } from './capture.js';
import { type Arrival, distortionOf, idIn } from './element.js';
import type { Tally } from './tally.js';

const MARKER_TOPIC = 'marker';
const MARKER_TIMEOUT_MS = 60_000;
const MARKER_REPEAT_MS = 200;

export class Outlet {
  readonly #tally: Tally;
  /** At which everything arrives. */
  readonly #qos: 1 | 2;
  readonly #proxy: TcpProxy;
  readonly #subscriber: SubscriberProcess;
  readonly #publisher: Subscriber;
  readonly #markersSeen = new Set<string>();
  #markerCount = 0;
  #readCount = 0;

  private constructor(tally: Tally, qos: 1 | 2, proxy: TcpProxy, subscriber: SubscriberProcess, publisher: Subscriber) {
    this.#qos = qos;
    this.#tally = tally;
    this.#proxy = proxy;
    this.#subscriber = subscriber;
    this.#publisher = publisher;
  }

  static async open(broker: Mosquitto, tally: Tally, qos: 1 | 2, captureFolder: string): Promise<Outlet> {
    const capture = new Capture(join(captureFolder, 'subscriber'));
    const proxy = await startProxy({
      targetPort: broker.port,
      passed: (connection, direction, chunk) => capture.passed(connection, direction, chunk),
    });
    const subscriber = await startSubscriberProcess({ url: proxy.url, persistentClientId: 'historian' });
    return new Outlet(tally, qos, proxy, subscriber, await openSubscriber({ url: broker.url, topics: 'nothing' }));
  }

  /**
   * Publishes a marker to the subscriber and waits until it has got it. A broker hands on in the order in which it has
   * taken, so that everything before has arrived then; at QoS 2, because a message of QoS 1 arrives while those before it
   * still wait for their PUBREL. It goes out again and again, in case the broker has forgotten the subscription and the
   * subscriber has to come back first.
   */
  async passMarker(): Promise<void> {
    const own = `${this.#markerCount++}`;
    let published: Promise<unknown> = Promise.resolve();
    let publishedMs = Number.NEGATIVE_INFINITY;
    await eventually(
      () => {
        this.read();
        if (this.#markersSeen.has(own)) return true;
        if (performance.now() >= publishedMs + MARKER_REPEAT_MS) {
          publishedMs = performance.now();
          // One that gets no acknowledgement is followed by the next.
          published = this.#publisher.publish(MARKER_TOPIC, own, { qos: 2 }).catch(() => undefined);
        }
        return false;
      },
      () => `the marker ${own} at the subscriber, which has ${this.#readCount} messages`,
      MARKER_TIMEOUT_MS,
    );
    await published;
  }

  /** Takes over what the subscriber has got since the last time. */
  read(): void {
    const messages = this.#subscriber.messages();
    for (; this.#readCount < messages.length; this.#readCount++) {
      const message = messages[this.#readCount]!;
      if (message.topic === MARKER_TOPIC) this.#markersSeen.add(message.text);
      else this.#take(message);
    }
  }

  #take(message: Arrival): void {
    const id = idIn(message.text);
    if (id === undefined) {
      this.#tally.distortions.push(`What arrived has no name: ${message.text.slice(0, 200)}`);
      return;
    }
    const { inventions, distortions } = this.#tally;
    const inventedCount = inventions.length;
    this.#tally.arrive(id);
    const distortion = inventions.length > inventedCount ? undefined : distortionOf(id, message, this.#qos);
    if (distortion !== undefined) distortions.push(distortion);
  }

  /** Ends the connection of the subscriber, whose messages the broker keeps from then on. */
  async detachSubscriber(): Promise<void> {
    await this.#proxy.refuse();
    this.#proxy.hangUp();
    await eventually(() => this.#proxy.openCount === 0, 'the broker to close the connection of the subscriber');
  }

  async attachSubscriber(): Promise<void> {
    await this.#proxy.accept();
  }

  /** Everything that arrived, one line each. */
  arrivals(): string {
    return this.#subscriber
      .messages()
      .map(({ topic, text, qos, dup }) => `${topic} ${text.slice(0, 80)} qos ${qos}${dup ? ' dup' : ''}\n`)
      .join('');
  }

  async close(): Promise<void> {
    await this.#proxy.close();
    await this.#publisher.close();
    await this.#subscriber.close();
  }
}

/** What has arrived at the brokers of a world, and what became of it there: one account for all of them. */
import type { IPublishPacket } from 'mqtt-packet';
import type { Grant } from './broker-traits.js';
import type { Key } from './key.js';
import type { ModelBroker } from './model-broker.js';

export interface Delivery {
  key: Key;
  qos: number;
  packet: IPublishPacket;
  /** What the broker had announced on the connection that the message came on. */
  grant: Grant;
  /** The session of the broker that it came in, counted from 0 over all brokers. */
  session: number;
}

export class Reception {
  readonly deliveries: Delivery[] = [];
  readonly deliveredCount = new Map<Key, number>();
  /** PUBLISH packets received, per message. */
  readonly attempts = new Map<Key, number>();
  readonly problems: string[] = [];
  readonly refused = new Set<Key>();
  /** PUBLISHes above the Receive Maximum; each ended its connection. */
  readonly overruns: string[] = [];
  /** Acknowledged and dropped, because the broker held as many as it takes. */
  readonly droppedSilently: Key[] = [];
  /** PUBLISHes that were answered with "packet identifier in use", and QoS 2 ones that were answered with PUBACK. */
  inUseCount = 0;
  downgradedCount = 0;
  /** Messages whose PUBREC was held back, or replaced by something else, at least once. */
  readonly late = new Set<Key>();
  /** Messages that a session held when the broker lost it. */
  readonly lostInSession = new Set<Key>();
  /** Sessions that were lost on the broker's side, whether they held anything or not. */
  lostSessionCount = 0;
  /** Connections on which Session Present was 1 although the client cannot know that the session is a new one. */
  maskedLossCount = 0;
  /** Announced on all the connections that were accepted. */
  readonly grants: Grant[] = [];
  /** The broker that has accepted a connection last. */
  lastServedBy: ModelBroker | undefined;
  ackCount = 0;
  connectionCount = 0;
  sessionCount = 0;

  deliver(delivery: Delivery): void {
    const { key } = delivery;
    this.deliveries.push(delivery);
    this.deliveredCount.set(key, (this.deliveredCount.get(key) ?? 0) + 1);
  }
}

/** The producers of a world: each hands in its content in its time, and again while nobody takes it. */
import type { Receipt } from '../../src/connector/connector.js';
import { LANES, type Lane } from '../../src/core/lane.js';
import { type Key, keyOf } from './key.js';
import type { Places } from './places.js';
import type { WorldPlan } from './plan.js';
import { type HandedMessage, type Outcome, Producer } from './producer.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { Timeline } from './timeline.js';

const RETRY_MS = 200;

export interface WorkforceOptions {
  plan: WorldPlan;
  timeline: Timeline;
  places: Places;
  problems: string[];
  /** The process that runs, or ran last. */
  process: () => SimulatedProcess;
  /** Microtasks may be due. */
  promised: () => void;
  answered: (what: string) => void;
  /** What each producer has heard already; those that have not asked yet never do. */
  outcomes: readonly Outcome[] | undefined;
}

export class Workforce {
  readonly producers: readonly Producer[];
  /** All messages that anybody wants to hand in, by name. */
  readonly messages = new Map<Key, HandedMessage>();
  readonly #options: WorkforceOptions;

  constructor(options: WorkforceOptions) {
    this.#options = options;
    const { plan, timeline, places, problems, outcomes } = options;
    const next: Record<Lane, number> = { command: 0, alert: 0, telemetry: 0 };
    for (const lane of LANES) next[lane] = plan.firstOffset;
    this.producers = [...plan.appends]
      .sort((a, b) => a.atMs - b.atMs)
      .map((append, i) => {
        const names = append.messages.map(() => keyOf(append.lane, next[append.lane]++));
        const producer = new Producer(append, names, i, places, problems);
        for (const message of producer.messages) this.messages.set(message.name, { ...message, producer });
        const outcome = outcomes?.[i];
        if (outcome === 'due') producer.outcome = 'unknown';
        else if (outcome !== undefined) producer.outcome = outcome;
        producer.abandoned();
        if (!producer.isDone) timeline.after(append.atMs - timeline.nowMs, () => this.#hand(producer));
        return producer;
      });
  }

  /** A process is gone: what it was asked is asked again by those who have a key. */
  abandoned(): void {
    for (const producer of this.producers) {
      const wasAsked = producer.outcome === 'asked';
      producer.abandoned();
      if (wasAsked && !producer.isDone) this.#handLater(producer);
    }
  }

  #handLater(producer: Producer): void {
    this.#options.timeline.after(RETRY_MS, () => this.#hand(producer));
  }

  #hand(producer: Producer): void {
    const process = this.#options.process();
    if (!process.isAlive) {
      this.#handLater(producer);
      return;
    }
    this.#options.promised();
    producer.hand(
      process.connector,
      this.#options.timeline.wallMs,
      () => process.isAlive,
      (receipt, code) => this.#answered(producer, process, receipt, code),
    );
  }

  #answered(
    producer: Producer,
    process: SimulatedProcess,
    receipt: Receipt | undefined,
    code: string | undefined,
  ): void {
    this.#options.answered(code ?? 'receipt');
    if (receipt !== undefined) {
      process.accepted[producer.plan.lane] += producer.messages.length;
      process.accepted.telemetry += producer.plan.unmappedCount ?? 0;
    }
    if (producer.outcome === 'due') this.#handLater(producer);
  }
}

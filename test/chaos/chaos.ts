/**
 * Rounds of accidents on real processes, and the account at the end: what arrived against what was accepted.
 *
 * What is expected, with a session that is persistent on both sides:
 *
 *     QoS 2, the broker keeps its state   nothing lost, nothing twice, order kept within each lane
 *     QoS 2, the broker loses its state   nothing lost of what it had not handed on (`killBrokerLosingState` says what that
 *                                         leaves to the broker); twice no more than is counted as possible duplicates
 *     QoS 1                               nothing lost, order of the first arrivals kept, duplicates counted
 *
 * Every few rounds, and at the end, producers pause, the cache drains, and a marker through the broker tells that the
 * subscriber has got everything; then the account must be even. Beyond the account: nothing is quarantined, dropped or
 * found damaged, no process ends by itself, no producer gets an answer that would make it give up, the connector is online
 * within its time after each round, memory and disk stay bounded, and the last stop is clean.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ACTIONS } from './actions.js';
import { type ActionKind, Plan, type RoundPlan } from './plan.js';
import { Breach, CACHE_SIZE_MIB, Plant, type PlantOptions } from './plant.js';
import { type PlantStatus, waitingCount } from './service-under-test.js';

export interface ChaosOptions extends PlantOptions {
  rounds: number;
  kinds: readonly ActionKind[];
  /** The words that chose the kinds; empty: all. */
  only: string;
  /** Takes each line of the report. */
  print: (line: string) => void;
  /** Takes the folders of a run that broke a guarantee and gives the name under which they are kept. */
  keep: (plant: Plant) => string;
}

export interface ChaosSummary {
  seed: number;
  qos: 1 | 2;
  protocolVersion: string;
  only: string;
  /** Done; `roundsWanted` when nothing broke. */
  rounds: number;
  roundsWanted: number;
  seconds: number;
  actions: Partial<Record<ActionKind, number>>;
  /** Kinds that could not be done here, with the reason. */
  skipped: Partial<Record<ActionKind, string>>;
  requests: number;
  files: number;
  /** How often a producer asked again, by the status that it had got. */
  retries: Record<string, number>;
  connections: number;
  checks: number;
  accepted: number;
  arrived: number;
  lost: number;
  /** Arrivals beyond the first that nothing permits; at QoS 1 they are duplicates. */
  twice: number;
  /** Arrivals beyond the first that the delivery or a lost state of the broker permits. */
  duplicates: number;
  memoryPeakMiB: number;
  diskPeakMiB: number;
  breaches: string[];
  /** Where the evidence is; undefined when there is no breach. */
  evidence?: string;
}

const CHECK_EVERY_ROUNDS = 5;
const DRAIN_TIMEOUT_MS = 60_000;
const ROUND_LEAST_MS = 300;
const MEMORY_MAX_MIB = 512;
/** The cache keeps its limit; the lock and the files of SQLite's own come on top. */
const DISK_MAX_MIB = CACHE_SIZE_MIB + 2;

export async function runChaos(options: ChaosOptions): Promise<ChaosSummary> {
  const startMs = performance.now();
  const plant = await Plant.open(options);
  const summary = newSummary(options, plant);
  for (const [kind, reason] of Object.entries(summary.skipped)) options.print(`skipped: ${kind}, ${reason}`);
  const kinds = options.kinds.filter((kind) => !(kind in summary.skipped));
  const run = new Run(options, plant, summary, new Plan(options.seed, kinds));
  try {
    if (kinds.length === 0) throw new Error('None of the accidents that were chosen can happen here.');
    await run.all();
  } catch (error) {
    plant.breaches.push(`round ${summary.rounds}: ${error instanceof Error ? error.message : String(error)}`);
  }
  plant.outlet.read();
  run.account();
  summary.seconds = (performance.now() - startMs) / 1000;
  summary.breaches = plant.breaches;
  const keep = (kept: Plant): void => {
    summary.evidence = options.keep(kept);
  };
  await plant.close(plant.breaches.length === 0 ? undefined : keep);
  return summary;
}

function newSummary({ seed, qos, protocolVersion, rounds, only }: ChaosOptions, { disk, clock }: Plant): ChaosSummary {
  return {
    seed,
    qos,
    protocolVersion,
    only,
    rounds: 0,
    roundsWanted: rounds,
    seconds: 0,
    actions: {},
    skipped: {
      ...(disk.obstacle === undefined ? {} : { 'disk full': disk.obstacle }),
      ...(clock.obstacle === undefined ? {} : { 'clock set back': clock.obstacle }),
    },
    requests: 0,
    files: 0,
    retries: {},
    connections: 0,
    checks: 0,
    accepted: 0,
    arrived: 0,
    lost: 0,
    twice: 0,
    duplicates: 0,
    memoryPeakMiB: 0,
    diskPeakMiB: 0,
    breaches: [],
  };
}

class Run {
  readonly #options: ChaosOptions;
  readonly #plant: Plant;
  readonly #summary: ChaosSummary;
  readonly #plan: Plan;

  constructor(options: ChaosOptions, plant: Plant, summary: ChaosSummary, plan: Plan) {
    this.#options = options;
    this.#plant = plant;
    this.#summary = summary;
    this.#plan = plan;
  }

  async all(): Promise<void> {
    const plant = this.#plant;
    await plant.startService();
    await plant.heal();
    plant.crew.resume();
    while (this.#summary.rounds < this.#options.rounds) {
      this.#summary.rounds++;
      await this.#round(this.#plan.next());
      if (this.#summary.rounds % CHECK_EVERY_ROUNDS === 0) await this.#check();
      if (plant.breaches.length > 0) return;
    }
    await this.#check();
    await plant.crew.pause();
    await this.#untilPublished();
    await plant.service.stop();
    await plant.outlet.passMarker();
    this.#assertEven('after the last stop');
  }

  async #round(plan: RoundPlan): Promise<void> {
    const plant = this.#plant;
    const startMs = performance.now();
    plant.note(`round ${this.#summary.rounds}: ${plan.kinds.join(', ')}`);
    if (plan.dropsFile) plant.crew.dropFile();
    const done: string[] = [];
    for (const [index, kind] of plan.kinds.entries()) {
      // A loss of the broker's state begins with everything in place.
      if (kind === 'broker killed, state lost') {
        await plant.heal();
        await this.#check();
      }
      await delay(plan.delaysMs[index] ?? 0);
      this.#measure();
      done.push(await ACTIONS[kind](plant, plan.randoms[index]!));
      this.#summary.actions[kind] = (this.#summary.actions[kind] ?? 0) + 1;
    }
    await delay(Math.max(0, ROUND_LEAST_MS - (performance.now() - startMs)));
    this.#measure();
    await plant.heal();
    plant.outlet.read();
    const status = await plant.service.status();
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    const numbers = `waiting ${waitingCount(status)}, inflight ${status.inflight}`;
    this.#options.print(
      `${String(this.#summary.rounds).padStart(4)}  ${seconds.padStart(5)} s  ${numbers.padEnd(26)}  ${done.join('; ')}`,
    );
    if (plant.breaches.length > 0) throw new Breach('an answer that no producer should get');
  }

  /** Everything comes to rest, and the account must be even. */
  async #check(): Promise<void> {
    const plant = this.#plant;
    await plant.crew.pause();
    const status = await this.#untilPublished();
    await plant.outlet.passMarker();
    const { quarantinedCount, findings } = status.cache;
    if (quarantinedCount > 0) throw new Breach(`${quarantinedCount} messages are in quarantine.`);
    if (findings.length > 0) throw new Breach(`The cache reports damage: ${JSON.stringify(findings)}`);
    this.#assertEven('with everything published');
    this.#summary.checks++;
    plant.note('checked');
    plant.crew.resume();
  }

  /** Producers may have put something in since they were paused last. */
  #untilPublished(): Promise<PlantStatus> {
    return this.#plant.service.until(
      (seen) => waitingCount(seen) + seen.inflight === 0,
      'everything to be published',
      DRAIN_TIMEOUT_MS,
    );
  }

  #assertEven(when: string): void {
    const { tally, permittedTwice } = this.#plant;
    const { accepted, arrived, lost, twice } = tally.counts();
    if (lost > 0) {
      throw new Breach(`${lost} of ${accepted} are lost ${when}: ${tally.lostExamples().join(', ')}`);
    }
    if (arrived !== accepted) throw new Breach(`${arrived} arrived ${when}, but ${accepted} were accepted.`);
    if (this.#options.qos === 2 && twice > permittedTwice) {
      const last = tally.repetitions.join(', ');
      throw new Breach(`${twice - permittedTwice} arrived twice ${when}; the last repetitions: ${last}`);
    }
    if (tally.inventions.length > 0) throw new Breach(`never handed in: ${tally.inventions.slice(0, 5).join(', ')}`);
    if (tally.distortions.length > 0)
      throw new Breach(`not as handed in: ${tally.distortions.slice(0, 5).join(' | ')}`);
    if (tally.disorders.length > 0) throw new Breach(`out of order: ${tally.disorders.slice(0, 5).join(', ')}`);
  }

  #measure(): void {
    const { service, disk } = this.#plant;
    const memoryMiB = (service.memoryPeakBytes() ?? 0) / 1024 ** 2;
    this.#summary.memoryPeakMiB = Math.max(this.#summary.memoryPeakMiB, memoryMiB);
    if (memoryMiB > MEMORY_MAX_MIB) throw new Breach(`The service had ${memoryMiB.toFixed(0)} MiB of memory.`);
    if (disk.obstacle !== undefined || disk.isFull) return;
    const diskMiB = disk.usedBytes() / 1024 ** 2;
    this.#summary.diskPeakMiB = Math.max(this.#summary.diskPeakMiB, diskMiB);
    if (diskMiB > DISK_MAX_MIB) throw new Breach(`The data directory had ${diskMiB.toFixed(1)} MiB.`);
  }

  /** Puts the final figures into the summary. */
  account(): void {
    const { tally, permittedTwice, crew, proxy } = this.#plant;
    const { accepted, arrived, lost, twice } = tally.counts();
    const isExact = this.#options.qos === 2;
    const duplicates = isExact ? permittedTwice : twice;
    Object.assign(this.#summary, { accepted, arrived, lost, duplicates, twice: twice - duplicates });
    this.#summary.requests = crew.requestCount;
    this.#summary.files = crew.fileCount;
    this.#summary.connections = proxy.connectionCount;
    this.#summary.retries = Object.fromEntries(crew.retries());
  }
}

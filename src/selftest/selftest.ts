/**
 * The crash contract on the user's own disk and machine.
 *
 *     this process                                        the writing process
 *     starts and kills it, again and again    ------->    a real connector on a real cache
 *     counts receipts                         <-------    says each request and each receipt
 *     broker, or a subscriber at one          <=======    publishes at QoS 2
 *     compares receipts with arrivals
 *
 * All of it happens in a fresh folder, which is removed at the end unless a check failed: then it is the evidence. The
 * disk is never filled: how a full one is met is shown by the tests of the project, not on somebody's plant.
 */
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDataDirectory } from '../cache/data-directory.js';
import { inspectCache } from '../cache/inspection.js';
import { openCache } from '../cache/threaded-cache.js';
import { type ConnectorConfig, type ConnectorInput, connectorSchema } from '../config/connector.js';
import { storeLimits } from '../connector/settings-of.js';
import { errorText, NorthError } from '../core/error.js';
import { packageVersion } from '../core/version.js';
import { type Check, failed, type Verdict, verdictOf } from './check.js';
import { Comparison } from './comparison.js';
import { CrashRun, type CrashRunResult } from './crash-run.js';
import { checkKills, checkOrder, checkReceipts, checkRepeats } from './delivery-checks.js';
import { checkFileSystem, fileSystemOf } from './file-system.js';
import { type KeptMessages, readKept } from './kept-messages.js';
import { checkReceiptTime, type DurabilityReport, measureReceipts } from './receipt-timing.js';
import { assertRoom, makeRunFolder } from './run-folder.js';
import { RunRecord } from './run-record.js';
import { type CacheAfterRun, checkCache, checkDatabase, checkLock, checkRoom } from './storage-checks.js';
import { checkSync, measureSync, type SyncTiming } from './sync-timing.js';
import { openEmbeddedTarget, openUrlTarget, type Target } from './target.js';

const CONNECTOR_ID = 'selftest';
const CACHE_SIZE_MAX = '64 MiB';
/** Where a run keeps what happened. */
const RECORD_FILE = 'record.log';
const REPORT_FILE = 'report.json';

export interface SelftestOptions {
  /** An existing folder on the disk in question. */
  folder: string;
  kills: number;
  /** The settings of a connection to a broker; undefined: one inside this process. */
  connection: ConnectorInput['settings'] | undefined;
  /** Topics of the run are made below it. */
  topic: string;
  /** What the connectors of the configuration may store together. */
  plannedBytes: number | undefined;
  signal: AbortSignal;
  random?: () => number;
  progress(state: { kills: number; receipts: number; arrived: number }): void;
}

export interface SelftestReport {
  verdict: Verdict;
  version: string;
  startedAt: string;
  elapsedSeconds: number;
  folder: string;
  checks: readonly Check[];
  /** The folder that was kept because a check failed. */
  evidence: string | undefined;
}

/**
 * Rejects, with nothing left behind, when the test cannot be made: COMMAND_INVALID for the folder, what a connection test
 * says for the broker, SERVICE_STOPPING when the signal came.
 */
export async function runSelftest(options: SelftestOptions): Promise<SelftestReport> {
  const folder = makeRunFolder(options.folder, 'mqtt-north-selftest');
  let isKept = false;
  try {
    const report = await new Selftest(options, folder).run();
    isKept = report.evidence !== undefined;
    return report;
  } finally {
    if (!isKept) rmSync(folder, { recursive: true, force: true });
  }
}

class Selftest {
  readonly #options: SelftestOptions;
  readonly #folder: string;
  readonly #checks: Check[] = [];
  readonly #comparison = new Comparison();
  readonly #record: RunRecord;
  readonly #dataDir: string;
  /** How the connections of the first measurement commit. */
  #reports: readonly DurabilityReport[] = [];
  readonly #startedAtMs = Date.now();
  readonly #startMs = performance.now();

  constructor(options: SelftestOptions, folder: string) {
    this.#options = options;
    this.#folder = folder;
    this.#record = new RunRecord(join(folder, RECORD_FILE));
    this.#dataDir = join(folder, 'data');
  }

  async run(): Promise<SelftestReport> {
    this.#checkMachine();
    let run: CrashRun | undefined;
    const target = await this.#openTarget((topic, payload) => {
      const text = payload.toString();
      this.#record.arrived(topic, text);
      this.#comparison.arrived(topic, text);
      run?.arrived();
    });
    try {
      run = this.#crashRun(target);
      await this.#judge(target, await run.run());
    } catch (error) {
      if (error instanceof NorthError && error.code === 'SERVICE_STOPPING') throw error;
      this.#checks.push(
        brokenOff('kills', error, 'On this machine the service would not come back by itself after such a crash.'),
      );
    } finally {
      await target.close();
    }
    return this.#report();
  }

  #checkMachine(): void {
    const fileSystem = fileSystemOf(this.#folder);
    const freeBytes = assertRoom(this.#options.folder, 'the self-test');
    const sync = measureSync(this.#folder);
    this.#checks.push(checkFileSystem(fileSystem), checkSync(sync, fileSystem), this.#checkReceiptTime(sync));
    this.#checks.push(checkRoom(freeBytes, this.#options.plannedBytes));
  }

  #checkReceiptTime(sync: SyncTiming): Check {
    try {
      const timing = measureReceipts(this.#folder, storeLimits(parseConnector({ url: 'mqtt://localhost' }).caching));
      this.#reports = timing.reports;
      return checkReceiptTime(timing, sync);
    } catch (error) {
      return brokenOff('receipt time', error, 'A cache cannot be kept in this folder as it has to be.');
    }
  }

  #openTarget(arrived: (topic: string, payload: Buffer) => void): Promise<Target> {
    const { connection, topic, signal } = this.#options;
    const run = randomBytes(4).toString('hex');
    const target = { prefix: `${topic}/${run}`, clientId: `mqtt-north-selftest-${run}`, arrived };
    if (connection === undefined) return openEmbeddedTarget(target);
    return openUrlTarget(connection, parseConnector({ ...connection, qos: 2 }), { ...target, signal });
  }

  #crashRun(target: Target): CrashRun {
    const { kills, signal, random = Math.random, progress } = this.#options;
    const comparison = this.#comparison;
    return new CrashRun({
      kills,
      dataDir: this.#dataDir,
      config: connectorInput(target.settings),
      comparison,
      record: this.#record,
      underWayMax: target.underWayMax,
      random,
      signal,
      opened: (pid) => this.#checks.push(checkLock(this.#dataDir, pid)),
      progress: (killsDone) =>
        progress({ kills: killsDone, receipts: comparison.receiptedCount, arrived: comparison.arrivedCount }),
    });
  }

  async #judge(target: Target, run: CrashRunResult): Promise<void> {
    const promised = target.promised(run);
    const after = await this.#lookIntoCache(target);
    const result = this.#comparison.result(after.kept);
    this.#checks.push(
      checkDatabase(after.inspection, [
        ...this.#reports,
        ...run.durabilities.map((durability) => ({ when: 'in the process that was killed', durability })),
      ]),
      target.check(run),
      checkKills(run),
      checkReceipts(result, promised),
      checkRepeats(result, promised),
      checkOrder(result),
      checkCache(after, run.isDrained),
    );
  }

  async #lookIntoCache(target: Target): Promise<CacheAfterRun & { kept: KeptMessages }> {
    const directory = openDataDirectory(this.#dataDir);
    try {
      const folder = directory.connectorFolder(CONNECTOR_ID);
      const limits = storeLimits(parseConnector(target.settings).caching);
      const cache = await openCache({ folder, limits });
      const { waitingCounts, quarantinedCount, findings } = await cache.status();
      const kept = await readKept(cache);
      await cache.close();
      const { command, alert, telemetry } = waitingCounts;
      return {
        inspection: inspectCache(folder),
        findings,
        kept,
        waitingCount: command + alert + telemetry,
        quarantinedCount,
      };
    } finally {
      directory.close();
    }
  }

  #report(): SelftestReport {
    const verdict = verdictOf(this.#checks);
    const report: SelftestReport = {
      verdict,
      version: packageVersion(),
      startedAt: new Date(this.#startedAtMs).toISOString(),
      elapsedSeconds: Math.round((performance.now() - this.#startMs) / 100) / 10,
      folder: this.#options.folder,
      checks: this.#checks,
      evidence: verdict === 'FAIL' ? this.#folder : undefined,
    };
    if (report.evidence !== undefined) {
      this.#record.flush();
      writeFileSync(join(this.#folder, REPORT_FILE), `${JSON.stringify(report, null, 2)}\n`, { mode: 0o600 });
    }
    return report;
  }
}

function connectorInput(settings: ConnectorInput['settings']): ConnectorInput {
  return { id: CONNECTOR_ID, settings, caching: { maxSize: CACHE_SIZE_MAX } };
}

function parseConnector(settings: ConnectorInput['settings']): ConnectorConfig {
  return connectorSchema.parse(connectorInput(settings));
}

/** The process or its cache failed in a way that no kill explains. */
function brokenOff(name: string, error: unknown, meaning: string): Check {
  const { code, message, remedy } =
    error instanceof NorthError ? error : new NorthError('INTERNAL', errorText(error), { cause: error });
  return failed(name, `the run broke off: ${code}, ${message}`, meaning, remedy);
}

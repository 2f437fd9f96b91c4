/** The status of a connector with several connections, as one: sums, and the state that a technician should see. */
import type { CacheFinding, StoreStatus } from '../cache/store.js';
import { LANES, type Lane } from '../core/lane.js';
import type { ConnectorState, ConnectorStatus, LaneCounts } from './connector.js';
import { sumOfHistograms } from './latency-histogram.js';
import { FIRST_PART } from './sharing.js';

/** The worst first. What is being stopped is no trouble, but hides whether there was one. */
const SEVERITY: readonly ConnectorState[] = [
  'failed',
  'draining',
  'waiting',
  'dialing',
  'handshaking',
  'recovering',
  'online',
  'stopped',
];

export interface PartState {
  readonly number: number;
  readonly state: ConnectorState;
  readonly description: string;
}

export interface PartStatus extends PartState {
  status: ConnectorStatus;
}

/** What all connections together are: the worst of them, and in words how many are well. */
export function sumOfStates(parts: readonly PartState[]): { state: ConnectorState; description: string } {
  const worst = worstOf(parts);
  const { state, description } = worst;
  if (parts.length === 1) return { state, description };
  const online = parts.filter((part) => part.state === 'online').length;
  const isAlike = parts.every((part) => part.description === description);
  if (isAlike && (state === 'stopped' || state === 'failed')) return { state, description };
  if (isAlike) return { state, description: `${parts.length} connections ${description}` };
  const othersCount = parts.filter((part) => part !== worst && part.state !== 'online').length;
  const more = othersCount === 0 ? '' : `; ${othersCount} more not online`;
  const share = `${online} of ${parts.length} connections online`;
  return { state, description: `${share}; connection ${worst.number}: ${description}${more}` };
}

/**
 * @param active the parts that messages are shared out to.
 * @param others parts that are out of use and not empty.
 */
export function sumOfStatuses(
  active: readonly PartStatus[],
  others: readonly PartStatus[],
  sinceMs: number,
  warnings: readonly string[],
): ConnectorStatus {
  const all = [...active, ...others];
  const statuses = all.map(({ status }) => status);
  const first = active[0]!.status;
  const worst = worstOf(active).status;
  const online = active.find(({ status }) => status.grant !== undefined)?.status ?? first;
  const ackLatency = sumOfHistograms(statuses.flatMap((status) => status.ackLatency ?? []));
  return {
    id: first.id,
    name: first.name,
    enabled: first.enabled,
    ...sumOfStates(active),
    sinceMs,
    broker: online.broker,
    grant: online.grant,
    lastError: worst.lastError ?? statuses.find(({ lastError }) => lastError !== undefined)?.lastError,
    warnings: [...new Set([...warnings, ...statuses.flatMap((status) => status.warnings)])],
    counts: sumOfCounts(statuses),
    reconnects: sumOf(statuses, ({ reconnects }) => reconnects),
    inflight: sumOf(statuses, ({ inflight }) => inflight),
    window: sumOf(
      active.map(({ status }) => status),
      ({ window }) => window,
    ),
    lastAcknowledgedAtMs: extremeOf(statuses, ({ lastAcknowledgedAtMs }) => lastAcknowledgedAtMs, Math.max),
    cache: sumOfCaches(all),
    ...(ackLatency === undefined ? {} : { ackLatency }),
    connections: active.map(({ state, description, status }) => {
      return { state, description, waitingCount: waitingOf(status.cache) };
    }),
  };
}

export function waitingOf({ waitingCounts }: StoreStatus): number {
  return waitingCounts.command + waitingCounts.alert + waitingCounts.telemetry;
}

function worstOf<T extends PartState>(parts: readonly T[]): T {
  return parts.reduce((worst, part) => (SEVERITY.indexOf(part.state) < SEVERITY.indexOf(worst.state) ? part : worst));
}

function sumOfCaches(parts: readonly PartStatus[]): StoreStatus {
  const caches = parts.map(({ status }) => status.cache);
  const first = caches[0]!;
  return {
    cacheId: first.cacheId,
    nextOffsets: perLane((lane) => sumOf(caches, ({ nextOffsets }) => nextOffsets[lane])),
    waitingCounts: perLane((lane) => sumOf(caches, ({ waitingCounts }) => waitingCounts[lane])),
    waitingSizeBytes: sumOf(caches, ({ waitingSizeBytes }) => waitingSizeBytes),
    oldestAcceptedAtMs: extremeOf(caches, ({ oldestAcceptedAtMs }) => oldestAcceptedAtMs, Math.min),
    quarantinedCount: sumOf(caches, ({ quarantinedCount }) => quarantinedCount),
    archivedCount: sumOf(caches, ({ archivedCount }) => archivedCount),
    archiveEvictedCount: sumOf(caches, ({ archiveEvictedCount }) => archiveEvictedCount),
    sizeBytes: sumOf(caches, ({ sizeBytes }) => sizeBytes),
    findings: sumOfFindings(parts.map(({ number, status }) => ({ number, findings: status.cache.findings }))),
    ...(first.durability === undefined ? {} : { durability: first.durability }),
  };
}

/** Oldest first. Those of the first part are told as they are, as for a connector with one connection. */
export function sumOfFindings(
  parts: readonly { number: number; findings: readonly CacheFinding[] }[],
): readonly CacheFinding[] {
  return parts
    .flatMap(({ number, findings }) =>
      findings.map((finding) =>
        number === FIRST_PART ? finding : { ...finding, message: `Connection ${number}: ${finding.message}` },
      ),
    )
    .sort((one, other) => one.atMs - other.atMs);
}

function sumOfCounts(statuses: readonly ConnectorStatus[]): Record<Lane, LaneCounts> {
  return perLane((lane) => {
    const sum = (field: keyof LaneCounts): number => sumOf(statuses, ({ counts }) => counts[lane][field]);
    return {
      accepted: sum('accepted'),
      published: sum('published'),
      quarantined: sum('quarantined'),
      dropped: sum('dropped'),
      possibleDuplicates: sum('possibleDuplicates'),
      noSubscribers: sum('noSubscribers'),
    };
  });
}

function perLane<T>(read: (lane: Lane) => T): Record<Lane, T> {
  return Object.fromEntries(LANES.map((lane) => [lane, read(lane)])) as Record<Lane, T>;
}

function sumOf<T>(all: readonly T[], read: (one: T) => number): number {
  return all.reduce((sum, one) => sum + read(one), 0);
}

function extremeOf<T>(
  all: readonly T[],
  read: (one: T) => number | undefined,
  choose: (...values: number[]) => number,
): number | undefined {
  const values = all.map(read).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : choose(...values);
}

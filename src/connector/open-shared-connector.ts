/**
 * Opens a connector with several connections: the caches of its parts first, because what waits in them decides how many
 * connections are in effect.
 */
import type { ConnectorConfig } from '../config/connector.js';
import { NorthError } from '../core/error.js';
import { LiveConnector } from './live-connector.js';
import { type Decision, type OpenPart, PartCaches, type PartCachesOptions } from './part-caches.js';
import { partConfig, partLogger, readAheadOfPart } from './part-config.js';
import { clientIdOf } from './settings-of.js';
import { SharedConnector } from './shared-connector.js';
import { waitingOf } from './shared-status.js';
import { FIRST_PART } from './sharing.js';
import { findParts, readSharingRecord } from './sharing-record.js';

export interface SharedEnvironment extends PartCachesOptions {
  random: () => number;
}

/** True when the connector has, or ever had, more than one connection. */
export function isShared(config: ConnectorConfig, folder: string): boolean {
  return config.settings.connections > 1 || readSharingRecord(folder) !== undefined || findParts(folder).length > 1;
}

/** Rejects as `openLiveConnector`; nothing is left open then. */
export async function openSharedConnector(
  config: ConnectorConfig,
  environment: SharedEnvironment,
): Promise<SharedConnector> {
  const caches = new PartCaches(config, environment);
  try {
    const found = await caches.openAll();
    const decision = await caches.decide(found);
    await caches.release(decision.record);
    return join(config, environment, caches, decision);
  } catch (error) {
    await caches.closeAll();
    throw error;
  }
}

function join(
  config: ConnectorConfig,
  environment: SharedEnvironment,
  caches: PartCaches,
  { record, heldBack }: Decision,
): SharedConnector {
  const { clock, logger, random, idempotencyRetentionMs } = environment;
  const { connections, generation, former } = record;
  const first = caches.open.get(FIRST_PART);
  if (first === undefined) throw new NorthError('INTERNAL', 'The first part of a connector is not open.');
  const clientId = clientIdOf(config.settings, first.cache.cacheId);
  const live = (number: number, { cache, opened }: OpenPart): LiveConnector =>
    new LiveConnector({
      config: partConfig(config, number, connections, clientId),
      cache,
      opened,
      clock,
      logger: partLogger(logger, number),
      random,
      idempotencyRetentionMs,
      readAheadBytes: readAheadOfPart(connections),
    });
  const numbers = [...caches.open.keys()].sort((one, other) => one - other);
  const parts = new Map(
    numbers.map((number) => {
      const part = caches.open.get(number)!;
      return [number, { connector: live(number, part), hasWaiting: waitingOf(part.opened) > 0 }] as const;
    }),
  );
  return new SharedConnector({
    config,
    sharing: { connections, generation },
    former,
    parts,
    openPart: async (number) => live(number, await caches.openPart(number, false)),
    heldBack,
    clock,
    logger,
    idempotencyRetentionMs,
  });
}

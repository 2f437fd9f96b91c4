/** What is done to the broker and to the disk. */
import { setTimeout as delay } from 'node:timers/promises';
import { untilRedial } from './network-actions.js';
import { Breach, type Plant } from './plant.js';
import type { Action } from './service-actions.js';
import { possibleDuplicates, waitingCount } from './service-under-test.js';

const DRAIN_TIMEOUT_MS = 60_000;

/**
 * SIGTERM under load, on which it writes its sessions to disk.
 *
 * Mosquitto 2.0.11 takes after a start no more than 20 messages of a client for in flight, and had perhaps more: those it
 * publishes again although they have had their PUBREL, and a correct subscriber gets them twice. So the subscriber has
 * got everything and is away when this happens, and comes back afterwards; the service is in the middle of its work.
 */
export const restartBroker: Action = async (plant, random) => {
  const loadMs = random.between(0, 400);
  const awayMs = random.between(0, 300);
  await plant.isolateBroker();
  await plant.outlet.detachSubscriber();
  const { connectionCount } = plant.proxy;
  await plant.admitService();
  await untilRedial(plant.proxy, connectionCount);
  await delay(loadMs);
  await plant.broker.stop();
  await delay(awayMs);
  await plant.broker.restart();
  await plant.outlet.attachSubscriber();
  return `broker restarted after ${loadMs} ms of load, away ${awayMs} ms`;
};

/**
 * SIGKILL, with its sessions on disk as they are at that moment: nothing reaches it between the save and the end. A broker
 * that goes on after its last save and is then killed comes back as it was at the save, and with a session that it calls
 * present has forgotten what it has answered for since. No client can make up for that, so that it is not tried here.
 */
export const killBrokerKeepingState: Action = async (plant, random) => {
  const unheardMs = random.between(0, 60);
  const awayMs = random.between(0, 200);
  await withholdAnswers(plant, unheardMs);
  await plant.isolateBroker();
  await plant.broker.save();
  await plant.broker.kill();
  await delay(awayMs);
  await plant.broker.restart();
  await plant.admitService();
  return `broker killed, state kept, ${unheardMs} ms unheard, away ${awayMs} ms`;
};

/**
 * SIGKILL, and its disk is gone, too.
 *
 * What the broker has acknowledged and not handed on yet is the broker's loss, and no client's. So the subscriber gets
 * all that first; acknowledgements are withheld from the service beforehand, so that much is in doubt. The service comes
 * back when the subscription is there again: what a broker takes without a subscriber goes nowhere. It is then not cut
 * before everything is settled, because a CONNACK that tells of the loss and gets lost itself would leave the service
 * believing in the old session. All that was in doubt may arrive twice, and no more than is counted as such.
 */
export const killBrokerLosingState: Action = async (plant, random) => {
  const { service, tally, broker } = plant;
  const unheardMs = random.between(5, 150);
  const alsoService = random.chance(0.4);
  await withholdAnswers(plant, unheardMs);
  await plant.isolateBroker();
  const twiceBefore = tally.counts().twice;
  const doubtBefore = alsoService ? 0 : possibleDuplicates(await service.status());
  await plant.loseBrokerState();
  if (alsoService) {
    await plant.killService();
    await plant.startService();
  }
  await broker.restart();
  await plant.outlet.passMarker();
  await plant.admitService();
  await plant.crew.pause();
  const status = await service.until((seen) => waitingCount(seen) + seen.inflight === 0, 'a drain', DRAIN_TIMEOUT_MS);
  await plant.outlet.passMarker();
  const doubt = possibleDuplicates(status) - doubtBefore;
  const twice = tally.counts().twice - twiceBefore;
  if (twice > doubt) throw new Breach(`${twice} arrived twice, but only ${doubt} count as possible duplicates.`);
  plant.permittedTwice += twice;
  plant.crew.resume();
  const both = alsoService ? ', service too' : '';
  return `broker killed, state lost${both}, ${unheardMs} ms unheard: ${doubt} in doubt, ${twice} twice`;
};

/** Acknowledgements stay away for a while; what they answer stays in doubt when the connection ends then. */
async function withholdAnswers({ proxy }: Plant, timeMs: number): Promise<void> {
  proxy.stall('toClient');
  await delay(timeMs);
}

/** Held to the end of the round, so that what follows happens on a full disk. */
export const fillDisk: Action = async ({ disk }, random) => {
  // Some files of SQLite find room in what is left and others do not.
  const leftBytes = (random.chance(0.5) ? random.between(0, 16) * 4 : random.between(0, 300)) * 1024;
  const timeMs = random.between(100, 700);
  disk.fill(leftBytes);
  await delay(timeMs);
  return `disk full but for ${leftBytes / 1024} KiB`;
};

/** The kinds of the plan, each with what it does. */
import { fillDisk, killBrokerKeepingState, killBrokerLosingState, restartBroker } from './broker-actions.js';
import { cutToBroker, cutToService, loseTheWay, stallReads } from './network-actions.js';
import type { ActionKind } from './plan.js';
import {
  type Action,
  killAtAcknowledgement,
  killAtStart,
  killInAppend,
  killInArchive,
  killInPublish,
  reloadConfiguration,
  setClockBack,
  startSecondService,
  stopService,
} from './service-actions.js';

export const ACTIONS: Readonly<Record<ActionKind, Action>> = {
  'service killed in append': killInAppend,
  'service killed in publish': killInPublish,
  'service killed at acknowledgement': killAtAcknowledgement,
  'service killed in archive': killInArchive,
  'service killed at start': killAtStart,
  'service stopped': stopService,
  'broker restarted': restartBroker,
  'broker killed, state kept': killBrokerKeepingState,
  'broker killed, state lost': killBrokerLosingState,
  'cut to broker': cutToBroker,
  'cut to service': cutToService,
  'reads stalled': stallReads,
  'half-open': loseTheWay,
  'disk full': fillDisk,
  'second service': startSecondService,
  'configuration reloaded': reloadConfiguration,
  'clock set back': setClockBack,
};

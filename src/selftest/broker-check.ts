/** What the broker of the run was found to be, and what that means for the promises. */
import { ERRORS, isErrorCode } from '../core/error-codes.js';
import { type Check, failed, passed, warned } from './check.js';
import type { CrashRunResult } from './crash-run.js';

export interface BrokerFindings {
  /** Which broker it is, and what it grants. */
  found: string;
  /** Why less than exactly once can be promised; undefined: it can. */
  weakness?: string | undefined;
  /** In the words of the connection test. */
  guarantee?: string | undefined;
  /** Over MQTT 3.1.1 it grants less than QoS 2, so that the run was made with less. */
  mayRefuseQos2?: boolean;
}

type BrokerRun = Pick<CrashRunResult, 'quarantined' | 'isDrained' | 'isQos2Refused'>;

const NAME = 'broker';
const QOS_1_REMEDY = 'Set qos to 1 for this broker, or use MQTT 5 where it speaks that.';

export function checkBroker(run: BrokerRun, { found, weakness, guarantee, mayRefuseQos2 }: BrokerFindings): Check {
  const { quarantined, isDrained, isQos2Refused } = run;
  if (isQos2Refused && !isDrained) {
    return failed(
      NAME,
      `${found}; it closes the connection at every message of QoS 2`,
      'What is accepted waits on the disk, but nothing gets through.',
      QOS_1_REMEDY,
    );
  }
  if (quarantined !== undefined) {
    const { count, code, reason } = quarantined;
    return failed(
      NAME,
      `${found}; it refused ${count} ${count === 1 ? 'message' : 'messages'}: ${code}, ${reason}`,
      isDrained
        ? 'What a broker refuses is set aside, and nothing behind it waits; but this run could not show much.'
        : 'What a broker refuses is set aside; but it took nothing of what is behind that, either, which waits.',
      remedyOf(code),
    );
  }
  if (weakness !== undefined) {
    const twice = 'Where twice does harm, use a broker with QoS 2 that keeps its sessions on disk.';
    return warned(
      NAME,
      `${found}; ${weakness}`,
      isLess(guarantee) ? `It gives ${guarantee}.` : 'At least once is what it gives.',
      mayRefuseQos2 === true ? `${QOS_1_REMEDY} ${twice}` : twice,
    );
  }
  return passed(NAME, found, 'It allows exactly once.');
}

/** The connection test could say of the broker what the run has shown. */
function isLess(guarantee: string | undefined): guarantee is string {
  return guarantee !== undefined && guarantee !== 'exactly once' && !guarantee.startsWith('not known');
}

function remedyOf(code: string): string {
  if (code === 'PUBLISH_NOT_AUTHORIZED') {
    return 'Allow this user to publish below the topic of the self-test, or name another one with --topic.';
  }
  if (code === 'PUBLISH_POISONOUS') {
    return (
      'Look at the log of the broker: it closes the connection at these messages, or never answers them. Over MQTT 3.1.1 ' +
      'that is how some refuse a topic or a QoS: allow the topic of the self-test, or name another one with --topic.'
    );
  }
  return isErrorCode(code) ? ERRORS[code].remedy : 'Look at the log of the broker.';
}

/** What the comparison of receipts and arrivals means. */
import { type Check, failed, passed, warned } from './check.js';
import type { Anomaly, ComparisonResult } from './comparison.js';
import type { CrashRunResult } from './crash-run.js';

/** What the broker and the subscriber of the run allow to promise. */
export interface Promised {
  /** Why messages may be missing although nothing of ours lost them; undefined: none may. */
  lossReason: string | undefined;
  /** Why messages may arrive twice; undefined: none may. */
  repeatReason: string | undefined;
}

export function checkReceipts(result: ComparisonResult, promised: Promised): Check {
  const name = 'receipts';
  const { receiptedCount, arrivedCount, lost, quarantined, waiting, changed, unknown } = result;
  const found = `${many(receiptedCount, 'message')} with a receipt, ${number(arrivedCount)} arrived`;
  const stray = [
    ...(changed.count === 0 ? [] : [`${number(changed.count)} arrived changed (${examples(changed)})`]),
    ...(unknown.count === 0 ? [] : [`${number(unknown.count)} arrived that were never sent (${examples(unknown)})`]),
  ];
  if (stray.length > 0) {
    return failed(
      name,
      `${found}; ${stray.join('; ')}`,
      'What arrives is not what was handed in.',
      'If somebody else publishes below this topic, choose another one with --topic. Otherwise please report it.',
    );
  }
  if (lost.count === 0) return checkKept(name, found, { quarantined, waiting });
  const missing = `${found}; ${number(lost.count)} are missing (${examples(lost)})`;
  if (promised.lossReason !== undefined) {
    return warned(
      name,
      `${missing}; ${promised.lossReason}`,
      'This does not show that the cache lost anything, nor that it did not.',
      'Repeat the self-test without --url: the embedded broker shows what this machine does.',
    );
  }
  return failed(
    name,
    missing,
    'Data with a receipt was lost.',
    'If the check of the cache failed, too, it is the disk: put dataDir on another one. If not, and the broker is your ' +
      'own (--url), look whether it drops messages for subscribers (queue limits) or, over MQTT 3.1.1, what its access ' +
      'rules refuse; repeat the self-test without --url.',
  );
}

/** No receipt was broken: each message has arrived, or is itself in the cache. */
function checkKept(name: string, arrived: string, kept: Pick<ComparisonResult, 'quarantined' | 'waiting'>): Check {
  const { quarantined, waiting } = kept;
  const found =
    quarantined.count === 0
      ? arrived
      : `${arrived}, ${number(quarantined.count)} are in quarantine (${examples(quarantined)})`;
  if (waiting.count > 0) {
    return warned(
      name,
      `${found}, ${number(waiting.count)} wait in the cache (${examples(waiting)}), because the broker stopped taking messages`,
      'No receipt was broken, but the run did not come to its end.',
      'Let the broker run, and start the self-test again.',
    );
  }
  return passed(
    name,
    found,
    quarantined.count === 0
      ? 'Every receipt held through every kill: what a producer is told is stored, is stored.'
      : 'No receipt was broken: what the broker refused is kept.',
  );
}

export function checkRepeats(result: ComparisonResult, promised: Promised): Check {
  const name = 'duplicates';
  const { repeated, arrivedCount } = result;
  if (repeated.count === 0) {
    return promised.repeatReason === undefined
      ? passed(name, `none in ${many(arrivedCount, 'message')}`, 'Exactly once, through every kill.')
      : passed(
          name,
          `none in ${many(arrivedCount, 'message')}, although they are permitted: ${promised.repeatReason}`,
          'At least once is what can be relied on with this broker.',
        );
  }
  const found = `${many(repeated.count, 'message')} arrived again (${examples(repeated)})`;
  if (promised.repeatReason !== undefined) {
    return warned(
      name,
      `${found}; ${promised.repeatReason}`,
      'At least once: what was in flight at a kill can arrive twice.',
      'Use a broker with QoS 2 that keeps its sessions where twice does harm, or let the receivers drop what they have ' +
        '(settings.messageIdProperty gives each message an id).',
    );
  }
  return failed(
    name,
    found,
    'QoS 2 with a kept session means exactly once, and it was not.',
    'Look in the record which kills came before, and please report it with the evidence. Other subscribers are not ' +
      'asked here: if a bridge of the broker loops, it repeats messages, too.',
  );
}

export function checkOrder(result: ComparisonResult): Check {
  const name = 'order';
  const { disordered, arrivedCount } = result;
  if (disordered.count === 0) {
    return passed(name, `${many(arrivedCount, 'message')} in three lanes`, 'Within a lane, first in is first out.');
  }
  return failed(
    name,
    `${many(disordered.count, 'message')} arrived after a later one of the same lane (${examples(disordered)})`,
    'Within a lane messages leave in the order in which they were accepted, and here they arrived in another one.',
    'Repeat the self-test without --url: if it passes, the broker changes the order (several nodes, shared queues). If ' +
      'not, please report it with the evidence.',
  );
}

export function checkKills(run: CrashRunResult): Check {
  const { kills, killsInStart, receiptCount, isDrained } = run;
  const found =
    `${many(kills, 'kill')} (SIGKILL, ${killsInStart} of them before the cache was open), ` +
    `${many(receiptCount, 'receipt')}`;
  if (isDrained) return passed('kills', found, 'Each restart opened the same cache and went on.');
  return failed(
    'kills',
    `${found}; then the broker took nothing for a minute${lastFailure(run)}`,
    'What is accepted waits on the disk, but nothing gets through.',
    'Look at the log of the broker.',
  );
}

function lastFailure({ lastFailure: failure }: CrashRunResult): string {
  return failure === undefined ? '' : `, last: ${failure.code} ${failure.message}`;
}

const EXAMPLES_SHOWN = 5;

function examples({ count, examples: all }: Anomaly): string {
  const shown = all.slice(0, EXAMPLES_SHOWN).join(', ');
  return count > EXAMPLES_SHOWN ? `${shown}, …` : shown;
}

function many(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`;
}

function number(count: number): string {
  return count.toLocaleString('en');
}

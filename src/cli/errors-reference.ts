/** docs/errors.md, made from the tables of our codes and of MQTT's. */
import { ERRORS } from '../core/error-codes.js';
import { formatReasonCode, REASON_ENTRIES, RETURN_CODES, reasonEntry } from '../core/reason-codes.js';
import { groupsOf } from './explain.js';

const AGAIN = { now: 'at once', later: 'later', never: 'no' } as const;

export function renderErrorsReference(): string {
  const ours = Object.entries(ERRORS).map(
    ([code, { meaning, remedy, retry }]) => `| \`${code}\` | ${cell(meaning)} | ${cell(remedy)} | ${AGAIN[retry]} |`,
  );
  const reasons = REASON_ENTRIES.flatMap((entry) =>
    groupsOf(entry).map(
      ({ packets, text }) =>
        `| \`${formatReasonCode(entry.code)}\` | ${entry.code} | ${entry.name} | ${packets.join(', ')} | ` +
        `${cell(text.meaning)} | ${cell(text.remedy)} |`,
    ),
  );
  const returns = [...RETURN_CODES].map(([code, { name, reasonCode }]) => {
    const text = reasonEntry(reasonCode)?.packets.get('CONNACK');
    return `| ${code} | ${name} | ${cell(text?.meaning ?? '')} | ${cell(text?.remedy ?? '')} |`;
  });
  return `# Codes

\`mqtt-north explain CODE\` says the same on a terminal, for our codes and for those of MQTT, by number or by name.

## Ours

Each error in the log, in an answer of the API and on the command line has one of these codes; a code never changes its
meaning. "Again" tells whether doing the same again can work: at once, later, or not before the cause is removed.

| code | meaning | remedy | again |
|---|---|---|---|
${ours.join('\n')}

## Reason codes of MQTT 5

| code | decimal | name | packets | meaning | remedy |
|---|---|---|---|---|---|
${reasons.join('\n')}

## Return codes of the CONNACK in MQTT 3.1.1

| code | name | meaning | remedy |
|---|---|---|---|
${returns.join('\n')}
`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

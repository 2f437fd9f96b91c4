/** The summary of a run as a table, and as one line of JSON for a test. */
import type { ChaosSummary } from './chaos.js';

const JSON_PREFIX = 'summary ';

export function repeatCommand({ roundsWanted, seed, qos, protocolVersion, only }: ChaosSummary): string {
  const which = only === '' ? '' : ` --only '${only}'`;
  return `npm run chaos -- --rounds ${roundsWanted} --seed ${seed} --qos ${qos} --protocol ${protocolVersion}${which}`;
}

export function summaryLines(summary: ChaosSummary): string[] {
  const rows: [string, string | number][] = [
    ['rounds', summary.rounds],
    ['seconds', summary.seconds.toFixed(0)],
    ['delivery', `QoS ${summary.qos}, MQTT ${summary.protocolVersion}`],
    ...Object.entries(summary.actions)
      .sort(([one], [other]) => one.localeCompare(other))
      .map(([kind, count]): [string, number] => [`  ${kind}`, count]),
    ...Object.entries(summary.skipped).map(([kind, reason]): [string, string] => [`  ${kind}`, `skipped: ${reason}`]),
    ['requests', summary.requests],
    ['  asked again', retriesText(summary.retries)],
    ['files', summary.files],
    ['connections', summary.connections],
    ['checks', summary.checks],
    ['accepted', summary.accepted],
    ['arrived', summary.arrived],
    ['lost', summary.lost],
    ['twice', summary.twice],
    [summary.qos === 2 ? 'duplicates where the broker lost its state' : 'duplicates', summary.duplicates],
    ['memory, most', `${summary.memoryPeakMiB.toFixed(0)} MiB`],
    ['disk, most', `${summary.diskPeakMiB.toFixed(1)} MiB`],
    ['breaches', summary.breaches.length],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`);
  for (const breach of summary.breaches) lines.push(`BREACH  ${breach}`);
  if (summary.evidence !== undefined) lines.push(`evidence: ${summary.evidence}`);
  lines.push(`again: ${repeatCommand(summary)}`);
  return lines;
}

function retriesText(retries: ChaosSummary['retries']): string {
  const parts = Object.entries(retries).map(([status, count]) => `${count} after ${statusText(status)}`);
  return parts.length === 0 ? 'never' : parts.join(', ');
}

function statusText(status: string): string {
  return status === '0' ? 'no answer' : status;
}

export function formatSummary(summary: ChaosSummary): string {
  return JSON_PREFIX + JSON.stringify(summary);
}

/** Finds the line of `formatSummary` in an output. */
export function readSummary(output: string): ChaosSummary | undefined {
  const line = output.split('\n').find((each) => each.startsWith(JSON_PREFIX));
  return line === undefined ? undefined : (JSON.parse(line.slice(JSON_PREFIX.length)) as ChaosSummary);
}

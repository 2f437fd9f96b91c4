/** docs/metrics.md, made from the table of metrics. */
import { METRICS } from './metrics.js';

export function renderMetricsReference(): string {
  const rows = METRICS.map(({ name, type, labels, help }) => {
    const labelText = labels.length === 0 ? '' : labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${labelText} | ${help.replaceAll('|', '\\|')} |`;
  });
  return `# Metrics

\`GET /metrics\` answers in Prometheus' text format; with tokens configured it takes one of a viewer or higher. A token
that is limited to some connectors sees these only. Every value is read from the connectors at the moment of the scrape.

| name | type | labels | meaning |
|---|---|---|---|
${rows.join('\n')}

Besides these there are the usual ones of the process (\`process_*\`: CPU, memory, file descriptors, start time) and of
the runtime (\`nodejs_*\`: heap, garbage collection, delay of the event loop); garbage collection and delays are
measured from the first scrape on.

## What to alert on

| condition | meaning |
|---|---|
| \`mqtt_north_oldest_waiting_seconds > 300\` | nothing gets through, or slower than it comes in |
| \`mqtt_north_session_state{state="online"} == 0\` for some minutes | the connection is down |
| \`increase(mqtt_north_messages_quarantined_total[10m]) > 0\` | messages were set aside and wait for a person |
| \`increase(mqtt_north_messages_dropped_total[10m]) > 0\` | data was dropped because the cache was full |
| \`predict_linear(mqtt_north_cache_bytes[1h], 4 * 3600)\` above maxSize | the cache is full in four hours |
| \`increase(mqtt_north_input_failed_total[10m]) > 0\` | files or samples could not be taken |
`;
}

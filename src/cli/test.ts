/** `mqtt-north test`: connects as the connectors would, and tells step by step what it found. */
import type { Command } from 'commander';
import type { ConnectorConfig } from '../config/connector.js';
import { openConfig } from '../config/loading.js';
import { formatSize } from '../config/units.js';
import { testConnection } from '../connector/connection-test.js';
import type { Grant } from '../connector/connector.js';
import { clientIdOf } from '../connector/settings-of.js';
import type { TestReport } from '../connector/test-report.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import { EXIT_FAILED } from './failure.js';
import { type Output, output, printable, writeJson } from './terminal.js';

interface TestOptions {
  config?: string;
  json?: boolean;
}

export function registerTest(program: Command): void {
  addConfigOption(program.command('test'))
    .description('connect to the brokers as the connectors would, and tell what each step found')
    .argument('[connectors...]', 'ids of the connectors to test; all of them when none is given')
    .option('--json', 'print the result as JSON')
    .action(async (ids: string[], options: TestOptions) => {
      const { config } = openConfig(options.config ?? CONFIG_FILE);
      const connectors = select(config.connectors, ids);
      const reports: { connector: string; report: TestReport }[] = [];
      const stopped = new AbortController();
      // The test has a session at the broker, which it gives back first.
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stopped.abort());
      for (const connector of connectors) {
        const { settings } = connector;
        const clientId = clientIdOf(settings, connector.id);
        const report = await testConnection({ settings, clientId, clock: systemClock(), signal: stopped.signal });
        reports.push({ connector: connector.id, report });
        if (!report.ok) process.exitCode = EXIT_FAILED;
        if (options.json !== true) printReport(output, connector, report);
        if (stopped.signal.aborted) break;
      }
      if (options.json === true) writeJson(reports.map(({ connector, report }) => ({ connector, ...report })));
    });
}

function select(connectors: readonly ConnectorConfig[], ids: readonly string[]): readonly ConnectorConfig[] {
  for (const id of ids) {
    if (connectors.some((connector) => connector.id === id)) continue;
    const known = connectors.map((connector) => connector.id).join(', ');
    throw new NorthError('CONNECTOR_UNKNOWN', `There is no connector "${id}".`, {
      remedy: known === '' ? 'The configuration has no connectors.' : `The configuration has: ${known}.`,
    });
  }
  if (connectors.length === 0) {
    throw new NorthError('CONFIG_INVALID', 'The configuration has no connectors to test.');
  }
  return ids.length === 0 ? connectors : connectors.filter(({ id }) => ids.includes(id));
}

function printReport(to: Output, connector: ConnectorConfig, report: TestReport): void {
  to.writeLine(to.style('bold', connector.id));
  for (const step of report.steps) {
    const mark = step.ok ? to.style('green', '✔') : to.style('red', '✖');
    const time = to.style('dim', `${step.elapsedMs} ms`);
    to.writeLine(`  ${mark} ${step.name.padEnd(10)} ${printable(step.message)}  ${time}`);
  }
  const { grant, error } = report;
  if (grant !== undefined) printGrant(to, grant, report);
  for (const warning of report.warnings) to.writeLine(`  ${to.style('yellow', '!')} ${printable(warning)}`);
  if (error !== undefined) {
    to.writeLine(`  ${to.style(['bold', 'red'], `error ${error.code}`)}: ${printable(error.message)}`);
    to.writeLine(`  ${to.style('green', '→')} ${printable(error.remedy)}`);
  }
  to.writeLine();
}

function printGrant(to: Output, grant: Grant, report: TestReport): void {
  const rows: [name: string, value: string][] = [
    ['broker', grant.broker],
    ['MQTT', grant.protocolVersion === 5 ? '5' : '3.1.1'],
    ['delivery', report.guarantee ?? ''],
    ['session present', sessionText(report)],
    ['maximum QoS', maximumQosText(grant, report)],
    ['receive maximum', grant.protocolVersion === 5 ? String(grant.receiveMaximum) : 'not announced (MQTT 3.1.1)'],
    [
      'packet size',
      grant.maximumPacketSizeBytes === undefined ? 'no limit announced' : formatSize(grant.maximumPacketSizeBytes),
    ],
    ['retain', grant.retainAvailable ? 'available' : 'not available'],
    ['topic aliases', String(grant.topicAliasMaximum)],
    ['keep-alive', `${grant.keepaliveSeconds} s`],
    ['round trip', report.roundTripMs === undefined ? 'unknown' : `${report.roundTripMs} ms`],
  ];
  if (report.certificateExpiresAt !== undefined) rows.push(['certificate until', report.certificateExpiresAt]);
  for (const [name, value] of rows) to.writeLine(`    ${to.style('dim', name.padEnd(18))} ${printable(value)}`);
}

/** The first CONNACK is about a session that the test has just begun; the second one tells. */
function sessionText({ isSessionKept }: TestReport): string {
  if (isSessionKept === undefined) return 'not asked for';
  return isSessionKept ? 'yes, at the second connection' : 'no, not at the second connection either';
}

function maximumQosText({ protocolVersion, maximumQos }: Grant, { subscribedQos }: TestReport): string {
  if (protocolVersion === 5) return String(maximumQos);
  const announced = 'not announced (MQTT 3.1.1)';
  return subscribedQos === undefined ? announced : `${announced}; ${subscribedQos} granted to a subscription`;
}

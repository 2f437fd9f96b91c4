/** `mqtt-north run`: the service, until it is told to stop. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../config/config.js';
import { openConfig } from '../config/loading.js';
import { brokerUrls } from '../config/settings.js';
import { systemClock } from '../core/clock.js';
import { NorthError } from '../core/error.js';
import { tendIdleMemory } from '../core/idle-memory.js';
import { openLogger } from '../service/log.js';
import { RunningService } from '../service/running-service.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import { printProblem } from './failure.js';
import { notes, output, printable } from './terminal.js';

/** So many messages are shown in the quick start as they arrive. */
const SHOWN_MESSAGES_MAX = 20;
const SHOWN_PAYLOAD_LENGTH = 110;
const PORTS_TRIED_MAX = 20;

export function registerRun(program: Command): void {
  addConfigOption(program.command('run'))
    .description('run the service; without a configuration, the quick start with a broker of its own')
    .action(async (options: { config?: string }) => {
      if (options.config === undefined && !existsSync(CONFIG_FILE)) await runQuickStart();
      else await runConfigured(options.config ?? CONFIG_FILE);
    });
}

async function runConfigured(file: string): Promise<void> {
  const { config, warnings } = openConfig(file);
  for (const warning of warnings) printProblem(notes, warning, file);
  const logger = await openLogger(config.logging);
  const service = await RunningService.open({ config, configFile: resolve(file), clock: systemClock(), logger });
  logger.info({ url: service.url, dataDir: config.dataDir }, `mqtt-north ${service.version} runs: ${service.url}`);
  printOverview(config, service.url, file);
  await untilStopped(() => service.stop());
}

function printOverview(config: Config, url: string, file: string): void {
  if (!output.isTerminal) return;
  output.writeLine(`  ${output.style('bold', 'configuration')}  ${file}`);
  output.writeLine(`  ${output.style('bold', 'data')}           ${config.dataDir}`);
  output.writeLine(`  ${output.style('bold', 'console, API')}   ${output.style('cyan', url)}`);
  for (const connector of config.connectors) {
    const brokers = brokerUrls(connector.settings).map(({ display }) => display);
    const suffix = connector.enabled ? '' : ' (disabled)';
    output.writeLine(`  ${output.style('bold', 'connector')}      ${connector.id} → ${brokers.join(', ')}${suffix}`);
  }
}

async function runQuickStart(): Promise<void> {
  // Its broker is no part of a service with a configuration.
  const { openQuickStart } = await import('../service/quick-start.js');
  const { broker, config } = await openQuickStart(resolve('data'));
  let shown = 0;
  await broker.subscribe('#', ({ topic, payload, qos }) => {
    if (topic.startsWith('$') || shown >= SHOWN_MESSAGES_MAX) return;
    shown++;
    const text = printable(payload.toString().slice(0, SHOWN_PAYLOAD_LENGTH));
    output.writeLine(`  ${output.style('green', topic)}  ${text}  ${output.style('dim', `QoS ${qos}`)}`);
    if (shown === SHOWN_MESSAGES_MAX) output.writeLine('  … and so on. Ctrl+C stops it.');
  });
  const logger = await openLogger(config.logging);
  const clock = systemClock();
  let service: RunningService;
  try {
    service = await openOnFreePort(config, (attempt) =>
      RunningService.open({ config: attempt, configFile: undefined, clock, logger }),
    );
  } catch (error) {
    await broker.close();
    throw error;
  }
  const label = (text: string): string => output.style('bold', text.padEnd(10));
  output.writeLine(output.style('bold', `mqtt-north ${service.version}: quick start, there is no ${CONFIG_FILE} here`));
  output.writeLine(
    `  ${label('broker')} ${output.style('cyan', broker.url)}${broker.port === 1883 ? '' : '  (1883 is taken)'}`,
  );
  output.writeLine(
    `  ${label('console')} ${output.style('cyan', service.url)}${service.url.endsWith(':8080') ? '' : '  (8080 is taken)'}`,
  );
  output.writeLine(`  ${label('API')} ${output.style('cyan', `${service.url}/api/docs`)}`);
  output.writeLine(`  ${label('data')} ${config.dataDir}`);
  output.writeLine(`  ${label('input')} the sensors of this machine, once a second`);
  output.writeLine(`  ${label('next')} mqtt-north init writes a configuration for a broker of your own`);
  output.writeLine();
  output.writeLine('What a subscriber of "#" at the broker gets:');
  await untilStopped(async () => {
    await service.stop();
    await broker.close();
  });
}

/** The port of the configuration, or the next free one. */
async function openOnFreePort(
  config: Config,
  open: (config: Config) => Promise<RunningService>,
): Promise<RunningService> {
  for (let tried = 0; ; tried++) {
    const port = config.server.port + tried;
    try {
      return await open({ ...config, server: { ...config.server, port } });
    } catch (error) {
      const isTaken = error instanceof NorthError && error.code === 'PORT_TAKEN';
      if (!isTaken || tried + 1 >= PORTS_TRIED_MAX) throw error;
    }
  }
}

/** Waits for SIGTERM or SIGINT, then stops in order. A second signal ends the process at once. */
async function untilStopped(stop: () => Promise<void>): Promise<void> {
  tendIdleMemory();
  const signal = await new Promise<NodeJS.Signals>((tell) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, tell);
  });
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      notes.writeLine('Stopped at once; what was in flight is sent again at the next start.');
      process.exit(1);
    });
  }
  notes.writeLine(`${signal}: stopping, what is in flight is being finished …`);
  await stop();
  notes.writeLine('Stopped; everything is stored.');
  process.exit(0);
}

/** `mqtt-north check`: every problem of a configuration, with its place and a hint. */
import type { Command } from 'commander';
import { parseBrokerUrl } from '../config/broker-url.js';
import type { Config } from '../config/config.js';
import { type LoadedConfig, loadConfig } from '../config/loading.js';
import type { Problem } from '../config/problem.js';
import { addConfigOption, CONFIG_FILE } from './config-file.js';
import { EXIT_INPUT, printProblem } from './failure.js';
import { type Output, output, writeJson } from './terminal.js';
import { transformerErrors } from './transformer-check.js';

interface CheckOptions {
  config?: string;
  json?: boolean;
}

export function registerCheck(program: Command): void {
  addConfigOption(program.command('check'))
    .description('validate the configuration and print every problem with its place and a hint')
    .option('--json', 'print the result as JSON')
    .action((options: CheckOptions) => {
      const loaded = loadConfig(options.config ?? CONFIG_FILE);
      const errors = [...loaded.errors, ...transformerErrors(loaded)];
      if (errors.length > 0) process.exitCode = EXIT_INPUT;
      if (options.json === true) writeJson(jsonOf(loaded, errors));
      else printResult(output, loaded, errors);
    });
}

function jsonOf({ file, config, warnings }: LoadedConfig, errors: readonly Problem[]): unknown {
  const counts = { connectors: config?.connectors.length ?? 0, inputs: config?.inputs.length ?? 0 };
  return { file, valid: errors.length === 0, ...counts, errors, warnings };
}

function printResult(to: Output, { file, config, warnings }: LoadedConfig, errors: readonly Problem[]): void {
  for (const problem of [...errors, ...warnings]) {
    printProblem(to, problem, file);
    to.writeLine();
  }
  const warned = warnings.length === 0 ? '' : count(warnings.length, 'warning');
  if (errors.length > 0 || config === undefined) {
    const summary = [count(errors.length, 'error'), warned].filter((text) => text !== '').join(' and ');
    to.writeLine(to.style(['bold', 'red'], `✖ ${file} has ${summary}.`));
    return;
  }
  const parts = `${count(config.connectors.length, 'connector')}, ${count(config.inputs.length, 'input')}`;
  const suffix = warned === '' ? '' : to.style('yellow', `, with ${warned}`);
  to.writeLine(`${to.style(['bold', 'green'], `✔ ${file} is valid`)}: ${parts}${suffix}.`);
  printConnectors(to, config);
}

const GUARANTEES = ['not acknowledged', 'at least once', 'exactly once'] as const;

function printConnectors(to: Output, { connectors }: Config): void {
  const width = Math.max(0, ...connectors.map(({ id }) => id.length));
  for (const { id, enabled, settings } of connectors) {
    const guarantee = settings.persistent || settings.qos < 2 ? GUARANTEES[settings.qos] : 'not persistent';
    const words = [`QoS ${settings.qos}, ${guarantee}`, `authentication ${settings.authentication.type}`];
    if (settings.brokers.length > 0) words.push(count(settings.brokers.length, 'further broker'));
    if (!enabled) words.push('disabled');
    const broker = to.style('cyan', parseBrokerUrl(settings.url).display);
    to.writeLine(`    ${id.padEnd(width)}  ${broker}  ${to.style('dim', words.join('; '))}`);
  }
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

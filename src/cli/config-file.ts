import type { Command } from 'commander';

/** Where the configuration is looked for when the command line names none. */
export const CONFIG_FILE = 'mqtt-north.yaml';

/** Adds `-c, --config`, which has this meaning in every command. */
export function addConfigOption(command: Command): Command {
  return command.option('-c, --config <file>', `the configuration, YAML or JSON (default: ./${CONFIG_FILE})`);
}

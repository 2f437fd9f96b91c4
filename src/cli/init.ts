/** `mqtt-north init`: writes a commented starter configuration. */
import { relative } from 'node:path';
import type { Command } from 'commander';
import { createFile } from '../config/atomic-file.js';
import { errorText, NorthError } from '../core/error.js';
import { CONFIG_FILE } from './config-file.js';
import { STARTER_CONFIG } from './starter-config.js';
import { output } from './terminal.js';

export function registerInit(program: Command): void {
  program
    .command('init')
    .description('write a commented starter configuration')
    .argument('[file]', 'where to', CONFIG_FILE)
    .addHelpText('after', '\nAn existing file is never overwritten.')
    .action((file: string) => {
      writeStarter(file);
      const option = file === CONFIG_FILE ? '' : ` -c ${relative('.', file)}`;
      output.writeLine(`${output.style('green', '✔')} ${file} is written. Put in the address of your broker, then:`);
      output.writeLine(`    mqtt-north check${option}`);
      output.writeLine(`    mqtt-north run${option}`);
    });
}

function writeStarter(file: string): void {
  let isNew: boolean;
  try {
    isNew = createFile(file, STARTER_CONFIG, 0o600);
  } catch (error) {
    const remedy = 'Check that the folder exists and may be written to.';
    const details = { place: file, remedy, cause: error };
    throw new NorthError('CONFIG_UNWRITABLE', `The file could not be written: ${errorText(error)}.`, details);
  }
  if (!isNew) throw new NorthError('CONFIG_EXISTS', 'There is a file of this name already.', { place: file });
}

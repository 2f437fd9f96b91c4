#!/usr/bin/env node
/**
 * The command line. Each command is a file of its own that registers itself on the program; what a command throws is
 * told here, and gives the exit code: 0 it worked, 1 it did not, 2 the input is wrong.
 */
import { Command, CommanderError, type OutputConfiguration } from 'commander';
import { systemCode } from '../core/error.js';
import { packageVersion } from '../core/version.js';
import { addCommands } from './commands.js';
import { EXIT_INPUT, EXIT_OK, exitCodeOf, northErrorOf, printFailure } from './failure.js';
import { notes } from './terminal.js';

/** Commander's texts in the form of our own failures. */
const OUTPUT: OutputConfiguration = {
  writeOut: (text) => void process.stdout.write(text),
  writeErr: (text) => void process.stderr.write(text),
  outputError: (text, write) => {
    const [problem = '', ...hints] = text
      .replace(/^error: /, '')
      .trimEnd()
      .split('\n');
    write(`${notes.style(['bold', 'red'], 'error COMMAND_INVALID')}: ${problem}\n`);
    for (const hint of hints.filter((line) => line !== '')) {
      write(`  ${notes.style('green', '→')} ${hint.replace(/^\((.*)\)$/, '$1')}\n`);
    }
  },
};

async function createProgram(word: string | undefined): Promise<Command> {
  const program = new Command('mqtt-north')
    .description('Takes industrial data, keeps it safely on disk, and publishes it to any MQTT broker.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    // -V behind a command is the command's own: the protocol version, as in mosquitto_pub.
    .enablePositionalOptions()
    .addHelpText('after', '\nExit codes: 0 it worked, 1 it did not work, 2 the input is wrong.');
  inherit(program);
  await addCommands(program, word);
  return program;
}

/** Set before the commands are added, which take it over. */
function inherit(command: Command): void {
  command.exitOverride().configureOutput(OUTPUT).showHelpAfterError('See --help.').showSuggestionAfterError(true);
}

async function main(argv: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(argv[2]);
    await program.parseAsync(argv, { from: 'node' });
    return Number(process.exitCode ?? EXIT_OK);
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT_OK : EXIT_INPUT;
    printFailure(thrown, { json: argv.includes('--json') });
    return exitCodeOf(northErrorOf(thrown));
  }
}

// A reader that has seen enough, such as "head", is no failure of ours. A command that stops cleanly on SIGTERM does so.
process.stdout.on('error', (error) => {
  if (systemCode(error) !== 'EPIPE') throw error;
  if (!process.emit('SIGTERM', 'SIGTERM')) process.exit();
});

// The code is set and not exited with, so that what is still being written is written.
process.exitCode = await main(process.argv);

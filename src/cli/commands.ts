/** The commands, each of which is a file of its own that registers itself on the program. */
import type { Command } from 'commander';

type Register = (program: Command) => void;

/** In the order of the help. Each is loaded with what it needs only when it is to be run, or when help names them all. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  run: async () => (await import('./run.js')).registerRun,
  init: async () => (await import('./init.js')).registerInit,
  check: async () => (await import('./check.js')).registerCheck,
  test: async () => (await import('./test.js')).registerTest,
  selftest: async () => (await import('./selftest.js')).registerSelftest,
  bench: async () => (await import('./bench.js')).registerBench,
  publish: async () => (await import('./publish.js')).registerPublish,
  cache: async () => (await import('./cache.js')).registerCache,
  import: async () => (await import('./import.js')).registerImport,
  explain: async () => (await import('./explain.js')).registerExplain,
};

/** Adds the command that this word names; all of them when there is none, or none of this name. */
export async function addCommands(program: Command, word: string | undefined): Promise<void> {
  const named = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  for (const load of named === undefined ? Object.values(COMMANDS) : [named]) (await load())(program);
}

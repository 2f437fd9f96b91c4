// Builds src/ into dist/ for installation: types are checked, old output is removed, files that are no TypeScript go
// along, and the command line is made executable.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { sourceFiles } from './compile.mjs';

const ROOT = join(import.meta.dirname, '..');
const COMMAND = 'dist/cli/main.js';

export function build() {
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  if (!existsSync(compiler)) {
    // An installation without development dependencies uses what was built before.
    const isBuilt = existsSync(join(ROOT, COMMAND));
    if (!isBuilt) console.error('Nothing is built, and TypeScript is not installed: run "npm ci" without --omit=dev.');
    return isBuilt ? 0 : 1;
  }
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  // What is run needs no comments, which would take memory; whoever uses the library reads them in the declarations.
  const passes = [
    ['--emitDeclarationOnly', '--sourceMap', 'false'],
    ['--declaration', 'false', '--removeComments', '--incremental', 'false', '--tsBuildInfoFile', 'null'],
  ];
  for (const options of passes) {
    const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', ...options], {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (status !== 0) return status ?? 1;
  }
  for (const file of sourceFiles(join(ROOT, 'src'))) {
    if (/\.[cm]?tsx?$/.test(file)) continue;
    const target = join(ROOT, 'dist', relative(join(ROOT, 'src'), file));
    mkdirSync(dirname(target), { recursive: true });
    cpSync(file, target);
  }
  if (existsSync(join(ROOT, COMMAND))) {
    chmodSync(join(ROOT, COMMAND), 0o755);
    linkCommand();
  }
  return 0;
}

// With this link, `npx mqtt-north` in a checkout runs what was built here; without it, npx would install a copy elsewhere
// first. Where links cannot be made, it still does that.
function linkCommand() {
  const link = join(ROOT, 'node_modules', '.bin', 'mqtt-north');
  try {
    mkdirSync(dirname(link), { recursive: true });
    rmSync(link, { force: true });
    symlinkSync(join('..', '..', COMMAND), link);
  } catch (error) {
    console.error(`No link for npx: ${error.message}`);
  }
}

if (process.argv[1] === import.meta.filename) process.exitCode = build();

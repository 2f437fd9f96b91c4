// Brings the programs that tests need and npm cannot install: `node scripts/ensure-tools.mjs mosquitto chromium`.
// It installs only where that is expected to be harmless: as root, on a Debian with apt-get. Elsewhere it says what is
// missing, and tests that need it are skipped.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

// Programs by the name of their Debian package. Debian puts brokers into sbin, which an ordinary user's PATH may lack.
const PROGRAMS = {
  mosquitto: ['mosquitto', 'mosquitto_passwd'],
  chromium: ['chromium'],
  strace: ['strace'],
  faketime: ['faketime'],
};
const FURTHER_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/bin'];
const APT_TIMEOUT_MS = 10 * 60 * 1000;

export function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...FURTHER_FOLDERS].filter((folder) => folder !== '');
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

function isComplete(tool) {
  return (PROGRAMS[tool] ?? [tool]).every((program) => findProgram(program) !== undefined);
}

function whyNotInstallable() {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version')) return 'this is not a Debian';
  if (findProgram('apt-get') === undefined) return 'there is no apt-get';
  if (process.getuid?.() !== 0) return 'installing it needs root';
  return undefined;
}

function aptGet(...args) {
  return spawnSync('apt-get', args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: APT_TIMEOUT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** Installs what is missing and gives `{ tool, reason }` for each that stays missing. */
export function ensureTools(tools) {
  const missing = tools.filter((tool) => !isComplete(tool));
  if (missing.length === 0) return [];
  const obstacle = whyNotInstallable();
  if (obstacle !== undefined) return missing.map((tool) => ({ tool, reason: `${tool} is not installed; ${obstacle}` }));
  console.log(`Installing ${missing.join(', ')} by apt-get ...`);
  const update = aptGet('update', '-qq');
  return missing.flatMap((tool) => {
    const { stdout, stderr, error } = aptGet('install', '-y', '-qq', '--no-install-recommends', tool);
    if (isComplete(tool)) return [];
    const said = [error?.message, stderr, stdout, update.status === 0 ? '' : update.stderr].filter(Boolean).join('\n');
    const lastLines = said.trim().split('\n').slice(-2).join(' ');
    return [{ tool, reason: `${tool} is not installed; apt-get could not install it: ${lastLines}` }];
  });
}

if (process.argv[1] === import.meta.filename) {
  const wanted = process.argv.slice(2);
  const missing = ensureTools(wanted.length === 0 ? Object.keys(PROGRAMS) : wanted);
  for (const { reason } of missing) console.error(reason);
  process.exitCode = missing.length === 0 ? 0 : 1;
}

/**
 * `npm run chaos -- --rounds N [--seed S] [--qos 1|2] [--protocol 3.1.1|5] [--only WORD,WORD] [--evidence FOLDER] [--json]`
 *
 * `--only` leaves those kinds of accidents whose names contain one of the words. In `--evidence` (below build/ by default)
 * is kept what a search for the cause needs, when there is something to search for.
 *
 * Ends with 0 when every guarantee held, with 1 when one did not, and with 2 when the arguments are wrong.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BUILD_FOLDER } from '../kit/process.js';
import { killAtEnd } from '../kit/watchdog.js';
import { type ChaosOptions, runChaos } from './chaos.js';
import { ACTION_KINDS } from './plan.js';
import type { Plant } from './plant.js';
import { formatSummary, summaryLines } from './report.js';

const OWN_MOUNTS = 'MQTT_NORTH_CHAOS_OWN_MOUNTS';
const SEED_MAX = 2 ** 31;

async function main(): Promise<number> {
  if (process.env[OWN_MOUNTS] === undefined && mayOwnMounts()) return runInOwnMounts();
  const read = readOptions();
  if (typeof read === 'string') {
    console.error(read);
    return 2;
  }
  const { options, evidence, json } = read;
  console.log(`seed ${options.seed}, ${options.rounds} rounds, QoS ${options.qos}, MQTT ${options.protocolVersion}`);
  const summary = await runChaos({
    ...options,
    print: (line) => console.log(line),
    keep: (plant) => keepEvidence(plant, evidence ?? join(BUILD_FOLDER, 'chaos-evidence', `seed-${options.seed}`)),
  });
  console.log(summaryLines(summary).join('\n'));
  if (json) console.log(formatSummary(summary));
  return summary.breaches.length === 0 ? 0 : 1;
}

/** A mount namespace of one's own lets an ordinary user mount the small disk, and clears it away whatever happens. */
function mayOwnMounts(): boolean {
  return spawnSync('unshare', ['-rm', 'true']).status === 0;
}

async function runInOwnMounts(): Promise<number> {
  const args = ['-rm', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', args, { env: { ...process.env, [OWN_MOUNTS]: '1' }, stdio: 'inherit' });
  killAtEnd(child);
  const [code] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}

interface Read {
  options: Omit<ChaosOptions, 'print' | 'keep'>;
  evidence: string | undefined;
  json: boolean;
}

const OPTIONS = {
  rounds: { type: 'string', default: '20' },
  seed: { type: 'string', default: String(randomInt(SEED_MAX)) },
  qos: { type: 'string', default: '2' },
  protocol: { type: 'string', default: '5' },
  only: { type: 'string', default: '' },
  evidence: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const;

/** The options, or what is wrong with them. */
function readOptions(): Read | string {
  let values: ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];
  try {
    ({ values } = parseArgs({ options: OPTIONS }));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const { qos, protocol } = values;
  const rounds = Number(values.rounds);
  const seed = Number(values.seed);
  if (!Number.isInteger(rounds) || rounds < 1) return `--rounds wants a number from 1, not ${values.rounds}.`;
  if (!Number.isInteger(seed) || seed < 0) return `--seed wants a number from 0, not ${values.seed}.`;
  if (qos !== '1' && qos !== '2') return `--qos wants 1 or 2, not ${qos}.`;
  if (protocol !== '5' && protocol !== '3.1.1') return `--protocol wants 3.1.1 or 5, not ${protocol}.`;
  const words = values.only.split(',');
  const kinds = ACTION_KINDS.filter((kind) => words.some((word) => kind.includes(word)));
  if (kinds.length === 0) return `--only wants words of these: ${ACTION_KINDS.join('; ')}.`;
  return {
    options: { rounds, seed, kinds, only: values.only, qos: qos === '1' ? 1 : 2, protocolVersion: protocol },
    evidence: values.evidence,
    json: values.json,
  };
}

function keepEvidence(plant: Plant, folder: string): string {
  const target = resolve(folder);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  for (const [name, from] of plant.evidenceFolders()) cpSync(from, join(target, name), { recursive: true });
  return target;
}

process.exitCode = await main();

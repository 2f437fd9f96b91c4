/** Log lines of the service, by pino: for people on a terminal, JSON lines otherwise. */
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import type { LoggingConfig } from '../config/config.js';

/** Writes to standard error, so that standard output stays free for what a command gives. */
export async function openLogger(config: LoggingConfig): Promise<PinoLogger> {
  const isPretty = config.format === 'pretty' || (config.format === 'auto' && process.stderr.isTTY === true);
  const destination = isPretty ? await linesForPeople() : pino.destination({ dest: 2, sync: true });
  return pino({ level: config.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

async function linesForPeople(): Promise<DestinationStream> {
  const { default: pretty } = await import('pino-pretty');
  return pretty({
    destination: 2,
    sync: true,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss',
    colorize: wantsColor(),
  });
}

function wantsColor(): boolean {
  const { NO_COLOR } = process.env;
  return process.stderr.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '');
}

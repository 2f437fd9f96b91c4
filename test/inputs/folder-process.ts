/**
 * Runs a folder input into a journal: `folder-process.js FOLDER JOURNAL [before|after PARTS]`. With the last two it kills
 * itself before or after that part is stored, as a power cut would end it: nothing is flushed, closed or told.
 */
import { folderSchema } from '../../src/config/inputs.js';
import { systemClock } from '../../src/core/clock.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { FolderInput } from '../../src/inputs/folder.js';
import { JournalDelivery } from './journal-delivery.js';

const [path = '', journal = '', when = '', parts = '0'] = process.argv.slice(2);
const config = folderSchema.parse({ id: 'files', type: 'folder', path, interval: 100, settleTime: 100 });
const delivery = new JournalDelivery(journal);
let rest = Number(parts);
const countDown = (): void => {
  rest--;
  if (rest === 0) process.kill(process.pid, 'SIGKILL');
};
if (when === 'before') delivery.beforePart = countDown;
if (when === 'after') delivery.afterPart = countDown;
new FolderInput({ config, delivery, clock: systemClock(), logger: SILENT_LOGGER }).start();

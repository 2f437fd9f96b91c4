/** Runs a folder input into a journal until it is killed: `folder-process.js FOLDER JOURNAL`. */
import { folderSchema } from '../../src/config/inputs.js';
import { systemClock } from '../../src/core/clock.js';
import { SILENT_LOGGER } from '../../src/core/logger.js';
import { FolderInput } from '../../src/inputs/folder.js';
import { JournalDelivery } from './journal-delivery.js';

const [path = '', journal = ''] = process.argv.slice(2);
const config = folderSchema.parse({ id: 'files', type: 'folder', path, interval: 100, settleTime: 100 });
const delivery = new JournalDelivery(journal);
new FolderInput({ config, delivery, clock: systemClock(), logger: SILENT_LOGGER }).start();

import { mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeAtEnd } from './watchdog.js';

/** A fresh, empty folder that is removed with its content when the test process ends. */
export function temporaryFolder(name = 'folder'): string {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), `mqtt-north-${name}-`));
  removeAtEnd(folder);
  return folder;
}

/** A cache that is gone is missed; one that has never been, or was removed on purpose, is not. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openDataDirectory } from '../../src/cache/data-directory.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { folderOf, statesDuring } from './interrupted-work.js';
import { append, execute, payloads, readAll } from './requests.js';
import { openIn } from './sqlite-subject.js';

const LOST = /cache\.db is missing or empty; what waited in it is gone with it\. Messages may be lost\./;

/** Puts a message into the cache of a folder, and stops in order. */
function use(folder: string): void {
  const store = openIn(folder);
  execute(store, append('telemetry', ['waits']));
  store.close();
}

/** Opens the cache, which must be empty and usable, and gives what it says. */
function findingsOf(folder: string): string[] {
  const store = openIn(folder);
  try {
    assert.deepEqual(readAll(store, 'telemetry'), []);
    execute(store, append('telemetry', ['new']));
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['new']);
    return store.status().findings.map(({ message }) => message);
  } finally {
    store.close();
  }
}

describe('a cache that was stopped in order', () => {
  test('is missed when its database was removed, and reported once', () => {
    const folder = temporaryFolder('lost');
    use(folder);
    rmSync(join(folder, 'cache.db'));
    const findings = findingsOf(folder);
    assert.equal(findings.length, 1);
    assert.match(findings[0]!, LOST);
    const again = openIn(folder);
    assert.equal(again.status().findings.length, 1);
    again.close();
  });

  test('is missed when its database was emptied', () => {
    const folder = temporaryFolder('lost');
    use(folder);
    truncateSync(join(folder, 'cache.db'), 0);
    assert.match(findingsOf(folder).join(), LOST);
  });

  test('is damaged when its database has lost its tables, or is one of somebody else, and messages may be lost', () => {
    for (const size of [3000, 100]) {
      const folder = temporaryFolder('lost');
      use(folder);
      truncateSync(join(folder, 'cache.db'), size);
      assert.match(findingsOf(folder).join('\n'), /Messages may be lost/, `${size} bytes`);
    }
    const folder = temporaryFolder('lost');
    use(folder);
    writeFileSync(join(folder, 'cache.db'), 'the text of somebody else '.repeat(300));
    assert.match(findingsOf(folder).join('\n'), /Messages may be lost/);
  });
});

describe('a new cache', () => {
  test('says nothing, whenever the process that makes it is killed', () => {
    const folder = temporaryFolder('new');
    const states = statesDuring(folder, () => openIn(folder).close());
    assert.ok(states.length > 4, `${states.length} states`);
    for (const { files, calls } of states)
      assert.deepEqual(findingsOf(folderOf(files)), [], calls.slice(-2).join(', '));
  });
});

describe('the folder of a connector', () => {
  function usedDirectory(): string {
    const path = temporaryFolder('data');
    const directory = openDataDirectory(path);
    for (const id of ['plant', 'other']) use(directory.connectorFolder(id));
    directory.close();
    return path;
  }

  const openAgain = (path: string, id = 'plant'): string[] => {
    const directory = openDataDirectory(path);
    try {
      return findingsOf(directory.connectorFolder(id));
    } finally {
      directory.close();
    }
  };

  test('is missed when it was removed', () => {
    const path = usedDirectory();
    rmSync(join(path, 'connectors', 'plant'), { recursive: true });
    assert.match(openAgain(path).join(), LOST);
  });

  test('is missed when all of them were removed, and each tells it', () => {
    const path = usedDirectory();
    rmSync(join(path, 'connectors'), { recursive: true });
    for (const id of ['plant', 'other']) assert.match(openAgain(path, id).join(), LOST);
  });

  test('is missed also when the process is killed while it is made again', () => {
    const connectors = temporaryFolder('connectors');
    const path = usedDirectory();
    rmSync(join(path, 'connectors'), { recursive: true });
    symlinkSync(connectors, join(path, 'connectors'));
    const directory = openDataDirectory(path);
    const states = statesDuring(connectors, () => directory.connectorFolder('plant'));
    directory.close();
    assert.ok(states.length > 3, `${states.length} states`);
    for (const { files, calls } of states) {
      const copy = temporaryFolder('data');
      copyFileSync(join(path, 'connectors.json'), join(copy, 'connectors.json'));
      renameSync(folderOf(files), join(copy, 'connectors'));
      assert.match(openAgain(copy).join(), LOST, calls.slice(-2).join(', '));
    }
  });

  test('is not missed when it was removed with its connector, nor when the whole data directory was', () => {
    const path = usedDirectory();
    const directory = openDataDirectory(path);
    directory.removeConnectorFolder('plant');
    assert.ok(!existsSync(join(path, 'connectors', 'plant')));
    directory.close();
    assert.deepEqual(openAgain(path), []);
    rmSync(path, { recursive: true });
    assert.deepEqual(openAgain(path), []);
  });

  test('is not missed when its connector had been taken out of the configuration before', () => {
    const path = usedDirectory();
    let directory = openDataDirectory(path);
    directory.forgetAllBut(['other']);
    directory.close();
    // It is still there, and with it what waits.
    directory = openDataDirectory(path);
    const store = openIn(directory.connectorFolder('plant'));
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['waits']);
    store.close();
    directory.close();
    rmSync(join(path, 'connectors', 'plant'), { recursive: true });
    directory = openDataDirectory(path);
    directory.forgetAllBut(['other']);
    directory.close();
    assert.deepEqual(openAgain(path), []);
    const other = openDataDirectory(path);
    const kept = openIn(other.connectorFolder('other'));
    assert.deepEqual(payloads(readAll(kept, 'telemetry')), ['waits']);
    kept.close();
    other.close();
  });

  test('is made and used also when the list of folders is damaged', () => {
    const path = usedDirectory();
    writeFileSync(join(path, 'connectors.json'), '{"pla');
    const directory = openDataDirectory(path);
    const store = openIn(directory.connectorFolder('plant'));
    assert.deepEqual(payloads(readAll(store, 'telemetry')), ['waits']);
    store.close();
    directory.close();
    rmSync(join(path, 'connectors', 'plant'), { recursive: true });
    assert.match(openAgain(path).join(), LOST, 'the list was made anew');
  });
});

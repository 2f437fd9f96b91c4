import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { folderSchema } from '../../src/config/inputs.js';
import { NorthError } from '../../src/core/error.js';
import type { ErrorCode } from '../../src/core/error-codes.js';
import { startOfFile } from '../../src/inputs/file.js';
import { encodeFileKey } from '../../src/inputs/file-key.js';
import { FolderInput } from '../../src/inputs/folder.js';
import { type LogLine, recordingLogger } from '../http/memory-service.js';
import { eventually, within } from '../kit/deadline.js';
import { ManualClock } from '../kit/manual-clock.js';
import { startScript } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { removeAtEnd } from '../kit/watchdog.js';
import { JournalDelivery, readJournal } from './journal-delivery.js';

const SETTLE_MS = 2000;
const INTERVAL_MS = 1000;

class Scene {
  readonly path: string;
  readonly clock = new ManualClock();
  readonly log: LogLine[] = [];
  readonly delivery: JournalDelivery;
  readonly input: FolderInput;

  constructor(settings: object = {}, path = join(temporaryFolder('drop'), 'drop')) {
    this.path = path;
    mkdirSync(path, { recursive: true });
    this.delivery = new JournalDelivery(join(path, '..', 'journal'));
    const config = folderSchema.parse({
      id: 'files',
      type: 'folder',
      path,
      interval: INTERVAL_MS,
      settleTime: SETTLE_MS,
      ...settings,
    });
    this.input = new FolderInput({
      config,
      delivery: this.delivery,
      clock: this.clock,
      logger: recordingLogger(this.log),
    });
  }

  write(name: string, text: string, ageSeconds = 0): void {
    writeFileSync(join(this.path, name), text);
    if (ageSeconds > 0) this.age(name, ageSeconds);
  }

  age(name: string, seconds: number): void {
    const time = Date.now() / 1000 - seconds;
    utimesSync(join(this.path, name), time, time);
  }

  /** Waits until the input has nothing more to do than to wait for its next look. */
  async idle(): Promise<void> {
    await eventually(() => this.clock.waitsMs.length === 1, 'the input to wait for its next look');
  }

  /** Lets one look at the folder happen and end. */
  async look(count = 1): Promise<void> {
    for (let done = 0; done < count; done++) {
      await this.idle();
      this.clock.advance(INTERVAL_MS);
    }
    await this.idle();
  }

  list(folder = '.'): string[] {
    return readdirSync(join(this.path, folder)).sort();
  }

  read(name: string): string {
    return readFileSync(join(this.path, name), 'utf8');
  }

  async run(use: () => Promise<void>): Promise<void> {
    this.input.start();
    try {
      await use();
    } finally {
      await within(this.input.stop(), 'the input to stop');
      this.delivery.close();
    }
  }
}

function csv(...rows: string[]): string {
  return `value\n${rows.map((row) => `${row}\n`).join('')}`;
}

function numbered(count: number, prefix = 'r'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

describe('the folder input', () => {
  it('takes a file when it has settled, moves it to done and takes the oldest first', async () => {
    const scene = new Scene();
    scene.write('b.csv', csv('b1', 'b2'), 10);
    scene.write('a.csv', csv('a1'), 5);
    scene.write('c.json', '{"c":1}', 20);
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.delivery.elements, [], 'not before the settle time');
      await scene.look(2);
      assert.deepEqual(scene.delivery.elements, [{ c: 1 }, 'b1', 'b2', 'a1']);
      assert.deepEqual(scene.list(), ['done', 'failed']);
      assert.deepEqual(scene.list('done'), ['a.csv', 'b.csv', 'c.json']);
      assert.deepEqual([...scene.delivery.sources], ['files']);
      const { deliveredCount, failedCount, state, description } = scene.input.status();
      assert.deepEqual([deliveredCount, failedCount, state], [3, 0, 'running']);
      assert.match(description, /^watching /);
    });
    assert.equal(scene.input.status().state, 'stopped');
  });

  it('waits as long as a file still changes, however old its time is', async () => {
    const scene = new Scene();
    scene.write('a.csv', csv('a1'), 3600);
    await scene.run(async () => {
      for (let index = 0; index < 5; index++) {
        await scene.look();
        appendFileSync(join(scene.path, 'a.csv'), `a${index + 2}\n`);
        scene.age('a.csv', 3600);
      }
      assert.deepEqual(scene.delivery.elements, []);
      await scene.look(4);
      assert.equal(scene.delivery.elements.length, 6);
    });
  });

  it('takes what is renamed in at once when no settle time is set', async () => {
    const scene = new Scene({ settleTime: 0 });
    await scene.run(async () => {
      await scene.idle();
      scene.write('.a.csv', csv('a1'));
      renameSync(join(scene.path, '.a.csv'), join(scene.path, 'a.csv'));
      await scene.look();
      assert.deepEqual(scene.delivery.elements, ['a1']);
    });
  });

  it('leaves alone what the pattern does not fit, dot files, unfinished names, folders and links', async () => {
    const scene = new Scene({ pattern: '*', contentType: 'csv', settleTime: 0 });
    const outside = join(scene.path, '..', 'secret.csv');
    writeFileSync(outside, csv('secret'));
    symlinkSync(outside, join(scene.path, 'link.csv'));
    symlinkSync('/nowhere', join(scene.path, 'dead.csv'));
    mkdirSync(join(scene.path, 'sub.csv'));
    for (const name of ['.hidden.csv', 'a.csv.tmp', 'b.CSV.PART']) scene.write(name, csv('no'));
    scene.write('yes.txt', csv('yes'));
    await scene.run(async () => {
      await scene.look(3);
      assert.deepEqual(scene.delivery.elements, ['yes']);
      assert.deepEqual(scene.list('done'), ['yes.txt']);
      assert.equal(existsSync(outside), true);
      const links = scene.log.filter(({ message }) => message.includes('symbolic link'));
      assert.equal(links.length, 2, 'each link is told once');
    });
  });

  it('keeps every file of the same name in done, and overwrites nothing there', async () => {
    const scene = new Scene({ settleTime: 0 });
    mkdirSync(join(scene.path, 'done'));
    writeFileSync(join(scene.path, 'done', 'a.csv'), 'of the operator');
    await scene.run(async () => {
      for (let index = 0; index < 3; index++) {
        await scene.idle();
        scene.write('a.csv', csv(`a${index}`));
        await scene.look();
      }
      assert.deepEqual(scene.list('done'), ['a-1.csv', 'a-2.csv', 'a-3.csv', 'a.csv']);
      assert.equal(scene.read('done/a.csv'), 'of the operator');
      assert.equal(scene.read('done/a-3.csv'), csv('a2'));
      assert.deepEqual(scene.delivery.elements, ['a0', 'a1', 'a2']);
    });
  });

  it('moves a file that cannot be taken to failed with the reason beside it, and goes on', async () => {
    const scene = new Scene({ pattern: '*', settleTime: 0, jsonMaxSize: 1024 });
    scene.write('1.json', '{"a":', 50);
    scene.write('2.xml', '<a/>', 40);
    scene.write('3.json', `[${' '.repeat(2000)}]`, 30);
    scene.write('4.csv', csv('bad', 'bad'), 20);
    scene.write('5.csv', csv('good', 'bad'), 10);
    scene.write('6.csv', 'value\n', 5);
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.list('done'), ['5.csv', '5.csv.rejected.txt', '6.csv']);
      const reasons = scene.list('failed').filter((name) => name.endsWith('.reason.txt'));
      const codes = reasons.map((name) => /^([A-Z_]+):/m.exec(scene.read(`failed/${name}`))?.[1]);
      assert.deepEqual(codes, ['CONTENT_MALFORMED', 'FILE_UNSUPPORTED', 'CONTENT_TOO_LARGE', 'CONTENT_EMPTY']);
      assert.match(scene.read('failed/1.json.reason.txt'), /line 1, column 6[\s\S]*Nothing of it was taken/);
      assert.match(scene.read('done/5.csv.rejected.txt'), /1 of 2 rows[\s\S]*ROW_INVALID/);
      assert.deepEqual(scene.delivery.elements, ['good']);
      assert.equal(scene.input.status().failedCount, 4);
    });
  });

  it('takes JSON lists and lines of elements, and leaves the judgement of a bad line to the connector', async () => {
    const scene = new Scene({ pattern: '*', contentType: 'messages', settleTime: 0 });
    scene.write('a.json', JSON.stringify(numbered(2500)), 30);
    scene.write('b.ndjson', '"l0"\r\n\n{"l":1}\nnot json\n"l3"', 20);
    scene.write('c.json', '{"no":"list"}', 10);
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.delivery.elements, [...numbered(2500), 'l0', { l: 1 }, 'not json', 'l3']);
      assert.deepEqual(scene.list('failed'), ['c.json', 'c.json.reason.txt']);
    });
  });

  it('waits with a file while the cache is full, then goes on where it was', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv(...numbered(100)), 10);
    scene.write('b.csv', csv('b'), 5);
    let calls = 0;
    scene.delivery.beforePart = () => {
      calls++;
      if (calls === 4) scene.delivery.failure = new NorthError('CACHE_FULL', 'The cache is full.');
    };
    await scene.run(async () => {
      await scene.look(3);
      assert.equal(scene.delivery.elements.length, 30);
      const { state, description, lastError } = scene.input.status();
      assert.equal(state, 'waiting');
      assert.match(description, /a\.csv: The cache is full/);
      assert.equal(lastError?.code, 'CACHE_FULL');
      assert.equal(scene.log.filter(({ level }) => level === 'warn').length, 1, 'the log is not filled');
      // An older file must not come in between: the progress of the first would be forgotten.
      scene.write('0.csv', csv('older'), 3600);
      scene.delivery.failure = undefined;
      await scene.look(2);
      assert.deepEqual(scene.delivery.elements, [...numbered(100), 'older', 'b']);
    });
  });

  it('leaves a file for which there is no transformer where it is, and takes the others', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'), 10);
    scene.write('b.csv', csv('b'), 5);
    scene.delivery.beforePart = (name) => {
      if (name === 'a.csv') throw new NorthError('TRANSFORMER_MISSING', 'No connector has a transformer for csv.');
    };
    await scene.run(async () => {
      await scene.look(3);
      assert.deepEqual(scene.delivery.elements, ['b']);
      assert.deepEqual(scene.list(), ['a.csv', 'done', 'failed']);
      assert.equal(scene.input.status().lastError?.code, 'TRANSFORMER_MISSING');
    });
  });

  it('waits for what lies outside the file, and gives a file up only for its own faults', async () => {
    const outside: ErrorCode[] = [
      'CACHE_DISK_FULL',
      'CACHE_FAILED',
      'CACHE_DAMAGED',
      'CONNECTOR_DISABLED',
      'CACHE_CLOSED',
    ];
    const own = [new NorthError('TRANSFORMER_FAILED', 'x'), new TypeError('a bug'), 'a text'];
    const failures = [...outside.map((code) => new NorthError(code, 'x')), ...own];
    for (const failure of failures) {
      const scene = new Scene({ settleTime: 0 });
      scene.write('a.csv', csv('a'));
      scene.delivery.beforePart = () => {
        throw failure;
      };
      await scene.run(async () => {
        await scene.look(2);
        const expected = own.includes(failure) ? ['done', 'failed'] : ['a.csv', 'done', 'failed'];
        assert.deepEqual(scene.list(), expected, String(failure));
      });
    }
  });

  it('lets a file vanish', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'), 10);
    scene.write('b.csv', csv('b'), 5);
    scene.delivery.beforePart = () => rmSync(join(scene.path, 'b.csv'), { force: true });
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.delivery.elements, ['a']);
      assert.deepEqual(
        scene.log.filter(({ level }) => level !== 'info'),
        [],
      );
    });
  });

  it('takes a file again that is dropped again, however equal it is', async () => {
    const scene = new Scene({ settleTime: 0 });
    const time = new Date(1_768_471_200_000);
    await scene.run(async () => {
      for (let index = 0; index < 3; index++) {
        await scene.idle();
        scene.write('.pump', csv('on'));
        utimesSync(join(scene.path, '.pump'), time, time);
        renameSync(join(scene.path, '.pump'), join(scene.path, 'pump.csv'));
        await scene.look();
      }
      assert.deepEqual(scene.delivery.elements, ['on', 'on', 'on']);
    });
  });

  it('gives up a file to which something was added after its end was read', async () => {
    const scene = new Scene();
    scene.write('a.csv', csv('a'), 10);
    let added = false;
    scene.delivery.beforePart = () => {
      if (!added) appendFileSync(join(scene.path, 'a.csv'), 'late\n');
      added = true;
    };
    await scene.run(async () => {
      await scene.look(8);
      assert.deepEqual(scene.delivery.elements, ['a']);
      assert.deepEqual(scene.list('done'), []);
      assert.deepEqual(scene.list('failed'), ['a.csv', 'a.csv.reason.txt']);
    });
  });

  it('gives up a file that grew while it was read, once it has settled, and says what was taken', async () => {
    const scene = new Scene();
    const rows = numbered(30);
    scene.write('a.csv', csv(...rows), 10);
    scene.write('b.csv', csv('b'), 5);
    let grown = false;
    scene.delivery.beforePart = (name) => {
      if (name !== 'a.csv' || grown) return;
      grown = true;
      appendFileSync(join(scene.path, 'a.csv'), 'late\n');
    };
    await scene.run(async () => {
      await scene.look(3);
      assert.ok(scene.list().includes('a.csv'), 'it stays while it may still be written');
      assert.deepEqual(scene.list('done'), ['b.csv'], 'the others need not wait for it');
      const taken = scene.delivery.elements.length;
      await scene.look(4);
      assert.deepEqual(scene.list('failed'), ['a.csv', 'a.csv.reason.txt']);
      assert.match(scene.read('failed/a.csv.reason.txt'), /FILE_CHANGED/);
      assert.equal(scene.delivery.elements.length, taken, 'no row is taken twice');
    });
  });

  it('takes a file whole that has replaced one that was begun', async () => {
    const scene = new Scene();
    scene.write('a.csv', csv(...numbered(30)), 10);
    let replaced = false;
    scene.delivery.beforePart = (_, rowsTaken) => {
      if (replaced || rowsTaken < 20) return;
      replaced = true;
      scene.write('.new', csv(...numbered(50, 'new')));
      renameSync(join(scene.path, '.new'), join(scene.path, 'a.csv'));
      throw new NorthError('CACHE_FULL', 'The cache is full.');
    };
    await scene.run(async () => {
      await scene.look(8);
      assert.deepEqual(scene.delivery.elements, [...numbered(10), ...numbered(50, 'new')]);
      assert.deepEqual(scene.list('done'), ['a.csv']);
    });
  });

  it('says what is wrong with the folder, and goes on when it is mended', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'));
    const elsewhere = join(scene.path, '..', 'elsewhere');
    mkdirSync(elsewhere);
    symlinkSync(elsewhere, join(scene.path, 'done'));
    await scene.run(async () => {
      await scene.look(2);
      const { state, lastError } = scene.input.status();
      assert.deepEqual([state, lastError?.code], ['failing', 'FOLDER_UNUSABLE']);
      assert.deepEqual(scene.delivery.elements, [], 'nothing is taken that could not be moved away');
      assert.equal(scene.log.filter(({ level }) => level === 'warn').length, 1, 'the log is not filled');
      rmSync(join(scene.path, 'done'));
      await scene.look(2);
      assert.deepEqual(scene.delivery.elements, ['a']);
      assert.equal(scene.input.status().state, 'running');
    });
  });

  it('never takes a file again that is stored but could not be moved, also not after a restart', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'), 10);
    scene.write('b.csv', csv('b'), 5);
    const done = join(scene.path, 'done');
    scene.delivery.beforePart = () => {
      // In the middle of the work the folder is replaced by a file.
      rmSync(done, { recursive: true, force: true });
      writeFileSync(done, '');
    };
    await scene.run(() => scene.look(3));
    assert.deepEqual(
      readJournal(join(scene.path, '..', 'journal')).flatMap(({ elements }) => elements),
      ['a'],
    );
    rmSync(done);
    const again = new Scene({ settleTime: 0 }, scene.path);
    await again.run(async () => {
      await again.look(3);
      assert.deepEqual(again.delivery.elements, ['a', 'b']);
      assert.deepEqual(again.list('done'), ['a.csv', 'b.csv']);
    });
  });

  it('makes the folder when it is missing', async () => {
    const path = join(temporaryFolder('drop'), 'not', 'yet');
    const scene = new Scene({ settleTime: 0 }, path);
    rmSync(path, { recursive: true });
    await scene.run(async () => {
      await scene.look();
      assert.ok(statSync(join(path, 'done')).isDirectory());
    });
  });

  it('stops in the middle of a file and goes on there when it is started again', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv(...numbered(200)));
    let stopped: Promise<void> | undefined;
    scene.delivery.beforePart = (_, rowsTaken) => {
      if (rowsTaken === 100) stopped = scene.input.stop();
    };
    scene.input.start();
    await eventually(() => stopped !== undefined, 'the middle of the file');
    await within(stopped!, 'the input to stop');
    const taken = scene.delivery.elements.length;
    assert.ok(taken >= 90 && taken <= 110, `${taken} rows`);
    scene.delivery.close();
    const again = new Scene({ settleTime: 0 }, scene.path);
    await again.run(async () => {
      await again.look(2);
      assert.deepEqual(again.delivery.elements, numbered(200));
    });
  });

  it('finds its place again also when another connector is still at a former file of the same name', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv(...numbered(50)));
    scene.delivery.beforePart = (_, rowsTaken) => {
      if (rowsTaken === 30) throw new NorthError('CACHE_FULL', 'The cache is full.');
    };
    await scene.run(() => scene.look());
    const again = new Scene({ settleTime: 0 }, scene.path);
    const former = { sizeBytes: 7, modifiedMs: 1000, head: 'h', tail: 't', taking: 'x', name: 'a.csv' };
    const stored = again.delivery.fileProgress.bind(again.delivery);
    again.delivery.fileProgress = async (source) => [
      ...(await stored(source)),
      { ...startOfFile(encodeFileKey(former)), complete: true },
    ];
    await again.run(async () => {
      await again.look(2);
      assert.deepEqual(again.delivery.elements, numbered(50));
    });
  });

  it('waits until the connectors say how far they are, instead of beginning anew', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'));
    scene.delivery.failure = new NorthError('CACHE_FAILED', 'The cache cannot be read.');
    await scene.run(async () => {
      await scene.look(2);
      assert.equal(scene.input.status().state, 'failing');
      scene.delivery.failure = undefined;
      await scene.look(2);
      assert.deepEqual(scene.delivery.elements, ['a']);
    });
  });

  it('finds room for the longest names, with a number and a note', async () => {
    const scene = new Scene({ settleTime: 0 });
    const name = `${'ä'.repeat(124)}xyz.csv`;
    assert.equal(Buffer.byteLength(name), 255);
    await scene.run(async () => {
      for (const row of ['good', 'good', 'bad']) {
        await scene.idle();
        scene.write(name, csv(row, 'bad'));
        await scene.look();
      }
      assert.deepEqual(scene.delivery.elements, ['good', 'good']);
      assert.equal(scene.list('done').length, 4);
      assert.equal(scene.list('failed').length, 2);
      assert.deepEqual(scene.list(), ['done', 'failed']);
    });
  });

  it('finds room for an ending as long as a name may be, and is not held up by it', async () => {
    const scene = new Scene({ settleTime: 0, pattern: '*' });
    const name = `a.${'x'.repeat(250)}`;
    scene.write(name, 'neither csv nor json', 10);
    scene.write('b.csv', csv('b'));
    await scene.run(async () => {
      await scene.look(2);
      assert.deepEqual(scene.delivery.elements, ['b']);
      assert.deepEqual(scene.list('failed'), [name.slice(0, 220), `${name.slice(0, 220)}.reason.txt`]);
    });
  });

  it('does not write a reason over a file that has such a name itself', async () => {
    const scene = new Scene({ settleTime: 0, pattern: '*' });
    scene.write('a.json.reason.txt', 'mine', 10);
    scene.write('a.json', 'no JSON', 5);
    await scene.run(async () => {
      await scene.look(2);
      assert.equal(scene.read('failed/a.json.reason.txt'), 'mine');
      assert.match(scene.read('failed/a-1.json.reason.txt'), /CONTENT_MALFORMED/);
      assert.deepEqual(scene.list('failed'), [
        'a-1.json',
        'a-1.json.reason.txt',
        'a.json.reason.txt',
        'a.json.reason.txt.reason.txt',
      ]);
    });
  });

  it('takes a file whose name begins with a line break', { skip: process.platform === 'win32' }, async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('\na.csv', csv('a'));
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.delivery.elements, ['a']);
    });
  });

  it('tells of a file whose name it cannot use', { skip: process.platform !== 'linux' }, async () => {
    const scene = new Scene({ settleTime: 0 });
    const odd = Buffer.concat([Buffer.from(`${scene.path}/`), Buffer.from([0xe4]), Buffer.from('.csv')]);
    writeFileSync(odd, csv('a'));
    for (const name of ['new\nline.csv', '-rf.csv', '%2e%2e.csv', 'a b;c.csv'])
      scene.write(name, csv(name.slice(0, 2)));
    await scene.run(async () => {
      await scene.look(3);
      assert.equal(scene.delivery.elements.length, 4);
      assert.equal(scene.list('done').length, 4);
      assert.deepEqual(scene.log.filter(({ level }) => level === 'warn').length, 1);
    });
  });

  it('tries a file that cannot be read several times, and does not hold up the others for it', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'), 10);
    scene.write('b.csv', csv('b'), 5);
    let attempts = 0;
    scene.delivery.beforePart = (name) => {
      if (name !== 'a.csv') return;
      attempts++;
      throw new NorthError('FILE_UNREADABLE', '"a.csv" cannot be read: EIO.');
    };
    await scene.run(async () => {
      await scene.look();
      assert.deepEqual(scene.delivery.elements, ['b']);
      assert.deepEqual(scene.list('failed'), []);
      await scene.look(6);
      assert.equal(attempts, 5);
      assert.deepEqual(scene.list('failed'), ['a.csv', 'a.csv.reason.txt']);
    });
  });

  it('stops also when a share hangs', async () => {
    const scene = new Scene({ settleTime: 0 });
    scene.write('a.csv', csv('a'));
    let release: (() => void) | undefined;
    scene.delivery.beforePart = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    scene.input.start();
    await eventually(() => release !== undefined, 'the file to be read');
    const stopped = scene.input.stop();
    scene.clock.advance(5000);
    await within(stopped, 'the input to stop');
    release?.();
    await eventually(() => scene.list('done').length === 1, 'what hung to come to its end');
    scene.delivery.close();
  });

  it('takes 10,000 files, each once', async () => {
    // In memory where the system has such a place: what is looked at is the bookkeeping, not the disk.
    const root = existsSync('/dev/shm') ? mkdtempSync('/dev/shm/mqtt-north-') : temporaryFolder('many');
    removeAtEnd(root);
    const scene = new Scene({ settleTime: 0 }, join(root, 'drop'));
    const count = 10_000;
    for (let index = 0; index < count; index++) scene.write(`${index}.json`, String(index));
    // The journal is read for each file: short lines keep that affordable.
    let seen = 0;
    const taken = new Set<unknown>();
    scene.delivery.deliverFile = async (content, options) => {
      assert.ok(content.type === 'json');
      seen++;
      taken.add(content.document);
      const progress = {
        fileKey: options.fileKey,
        rowsTaken: 1,
        accepted: 1,
        quarantined: 0,
        rejectedCount: 0,
        complete: true,
      };
      options.onProgress?.(progress);
      return { ...progress, rejected: [] };
    };
    await scene.run(async () => {
      await eventually(
        () => scene.input.status().deliveredCount === count,
        () => `${seen} files`,
        120_000,
      );
      assert.equal(taken.size, count);
      assert.equal(seen, count);
      assert.equal(scene.list('done').length, count);
    });
  });

  it('loses and repeats no row through kill -9 at any time', async () => {
    const root = temporaryFolder('kill');
    const path = join(root, 'drop');
    const journal = join(root, 'journal');
    mkdirSync(path);
    const expected: string[] = [];
    for (let file = 0; file < 6; file++) {
      const rows = numbered(400 + file, `f${file}r`);
      expected.push(...rows);
      writeFileSync(join(path, `${file}.csv`), csv(...rows));
      const time = Date.now() / 1000 - 100 + file;
      utimesSync(join(path, `${file}.csv`), time, time);
    }
    const rest = () => readdirSync(path).filter((name) => name.endsWith('.csv')).length;
    // Of about 41 parts in a file: in the beginning, in the middle, at the end, and between the end and the move.
    const points = [3, 1, 37, 41, 2, 40, 42, 7, 41, 19];
    let kills = 0;
    while (rest() > 0) {
      const when = kills % 2 === 0 ? 'after' : 'before';
      const point = points[kills % points.length];
      const child = startScript('test/inputs/folder-process.js', [path, journal, when, String(point)]);
      await eventually(
        () => child.end !== undefined || rest() === 0,
        () => `the end of a run; ${child.output}`,
        30_000,
      );
      await child.kill();
      assert.equal(child.stderr, '');
      kills++;
      assert.ok(kills < 100, 'it never comes to the end');
    }
    assert.ok(kills >= 8, `killed ${kills} times only`);
    assert.deepEqual(
      readJournal(journal).flatMap(({ elements }) => elements),
      expected,
    );
    assert.deepEqual(
      readdirSync(join(path, 'done')).filter((name) => statSync(join(path, 'done', name)).size > 0).length,
      6,
    );
    assert.deepEqual(readdirSync(join(path, 'failed')), []);
  });
});

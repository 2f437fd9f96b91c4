import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LANES } from '../../src/core/lane.js';
import { eventually } from '../kit/deadline.js';
import { startScript } from '../kit/process.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { LIMITS, listAll, readAll, readText } from './requests.js';
import { openIn } from './sqlite-subject.js';

const ROUNDS = 4;

/** What one life of the process has confirmed. */
interface Confirmed {
  stored: Map<string, string>;
  settledTo: { alert: number; telemetry: number };
  quarantined: Set<string>;
}

function readConfirmed(output: string, confirmed: Confirmed): number {
  let receipts = 0;
  // The last line may be cut short by the kill; then it was not confirmed.
  for (const line of output.split('\n').slice(0, -1)) {
    const [what, lane, place, ...texts] = line.split(' ');
    if (what === 'stored') {
      receipts++;
      for (const [index, text] of texts.entries()) confirmed.stored.set(`${lane} ${Number(place) + index}`, text);
    } else if (what === 'settled' && (lane === 'alert' || lane === 'telemetry')) {
      confirmed.settledTo[lane] = Math.max(confirmed.settledTo[lane], Number(place));
      confirmed.quarantined.add(`${lane} ${texts[0]}`);
    }
  }
  return receipts;
}

describe('a process that is killed while it appends and saves', () => {
  for (const mode of ['', 'archive']) {
    test(`leaves everything that it had confirmed, round after round${mode === '' ? '' : ', with an archive'}`, async () => {
      const folder = temporaryFolder('killed');
      const confirmed: Confirmed = { stored: new Map(), settledTo: { alert: 0, telemetry: 0 }, quarantined: new Set() };
      let cacheId: string | undefined;
      for (let round = 0; round < ROUNDS; round++) {
        const child = startScript('test/cache/process-that-appends.js', [folder, mode]);
        // A different moment in each round, counted in what it has done.
        const wanted = 30 + round * 70;
        const count = () => child.stdout.split('\nstored').length - 1;
        await eventually(
          () => count() >= wanted || child.end !== undefined,
          () => `${wanted} receipts: ${child.output.slice(-500)}`,
        );
        assert.equal(child.end, undefined, child.output.slice(-2000));
        await child.kill('SIGKILL');
        assert.ok(readConfirmed(child.stdout, confirmed) > 0);
        const store = openIn(folder, { ...LIMITS, archiveEnabled: mode !== '' });
        const status = store.status();
        cacheId ??= status.cacheId;
        assert.equal(status.cacheId, cacheId);
        assert.deepEqual(status.findings, []);
        const found = new Map<string, string>();
        for (const lane of LANES) {
          for (const { offset, payload } of readAll(store, lane)) found.set(`${lane} ${offset}`, payload);
        }
        for (const state of ['quarantined', 'archived'] as const) {
          for (const one of listAll(store, state)) found.set(`${one.lane} ${one.offset}`, readText(one.record).payload);
        }
        const progress = store.progress();
        for (const [place, text] of confirmed.stored) {
          const [lane, offset] = place.split(' ') as ['alert' | 'telemetry', string];
          const isSettled = Number(offset) < progress.lanes[lane].firstUnsettled;
          if (found.get(place) === text || (mode === '' && isSettled && found.get(place) === undefined)) continue;
          assert.fail(`round ${round}: ${place} was confirmed as ${text} and is ${found.get(place)}`);
        }
        for (const lane of ['alert', 'telemetry'] as const) {
          assert.ok(progress.lanes[lane].firstUnsettled >= confirmed.settledTo[lane], `${lane} was settled further`);
        }
        const quarantined = new Set(listAll(store, 'quarantined').map((one) => `${one.lane} ${one.offset}`));
        for (const place of confirmed.quarantined) assert.ok(quarantined.has(place), `${place} was set aside`);
        store.close();
      }
      assert.ok(confirmed.stored.size > 200, `${confirmed.stored.size} messages were confirmed`);
    });
  }
});

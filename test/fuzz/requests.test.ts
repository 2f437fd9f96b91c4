import { test } from 'node:test';
import { assertReached, BATCH_CASES, fuzz } from './fuzz.js';
import { requests } from './requests.js';

test('any request is answered as the API says, and what is answered is what is stored', async () => {
  const report = await fuzz(requests, { cases: BATCH_CASES, seed: 1 });
  assertReached(report, [
    'the client left',
    'answered 202',
    'answered 204',
    'answered 400 REQUEST_INVALID',
    'answered 400 CONTENT_MALFORMED',
    'answered 404 CONNECTOR_UNKNOWN',
    'answered 409 CONNECTOR_DISABLED',
    'answered 413 CONTENT_TOO_LARGE',
    'answered 415 CONTENT_TYPE_UNSUPPORTED',
    'answered 422 CONTENT_EMPTY',
    'answered 431 REQUEST_INVALID',
  ]);
});

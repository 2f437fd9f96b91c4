// A reporter for node:test that writes each event as a line of JSON to file descriptor 3, at once and synchronously:
// whatever happens to the process afterwards, the reader knows how far it came. `end` is the last line of a run that
// came to its end; `alive` says that all tests are over and something still keeps the process from ending.
import { writeSync } from 'node:fs';
import { inspect } from 'node:util';

const EVENTS_FD = 3;
const ALIVE_AFTER_MS = 10_000;

function emit(event) {
  writeSync(EVENTS_FD, `${JSON.stringify(event)}\n`);
}

function describe(error) {
  const cause = error?.code === 'ERR_TEST_FAILURE' && error.cause !== undefined ? error.cause : error;
  return typeof cause === 'string' ? cause : inspect(cause, { depth: 4, colors: false });
}

/** `skip` and `todo` are true or the reason when they apply. */
function isSet(mark) {
  return mark !== undefined && mark !== false;
}

export default async function* reportEvents(source) {
  let waiting = 0;
  let aliveTimer;
  const watch = () => {
    clearTimeout(aliveTimer);
    if (waiting > 0) return;
    aliveTimer = setTimeout(
      () => emit({ type: 'alive', resources: process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap') }),
      ALIVE_AFTER_MS,
    ).unref();
  };
  for await (const { type, data } of source) {
    const { name, nesting, details, skip, todo, message } = data ?? {};
    const isSuite = details?.type === 'suite';
    if (type === 'test:enqueue') {
      waiting++;
      emit({ type: 'waiting', name, nesting });
    } else if (type === 'test:pass' || type === 'test:fail') {
      waiting--;
      // A parent that fails because of what is in it adds nothing to the failure that is told already.
      const isFailure = type === 'test:fail' && details.error?.failureType !== 'subtestsFailed';
      const error = isFailure ? describe(details.error) : undefined;
      const kind = isFailure ? 'failed' : isSet(skip) ? 'skipped' : type === 'test:fail' ? 'parent' : 'passed';
      emit({ type: kind, name, nesting, isSuite, error, reason: skip, isTodo: isSet(todo) });
    } else if (type === 'test:diagnostic' && message.includes('asynchronous activity after the test ended')) {
      // The runner of Node.js lets this pass.
      emit({ type: 'failed', name: 'an error after the end of its test', nesting: 0, isSuite: false, error: message });
    }
    watch();
  }
  clearTimeout(aliveTimer);
  emit({ type: 'end' });
  yield '';
}

// Takes the data directory given and holds it until it is killed, or until its standard input ends.
import { openDataDirectory } from '../../src/cache/data-directory.js';
import { NorthError } from '../../src/core/error.js';

try {
  const directory = openDataDirectory(process.argv[2]!);
  console.log(`holds ${directory.path}`);
  process.stdin.resume().once('end', () => {
    directory.close();
    console.log('gave it free');
  });
} catch (error) {
  if (!(error instanceof NorthError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}

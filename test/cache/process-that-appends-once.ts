// Opens a cache in the folder given, appends one message, and leaves without closing it.
import { openCache } from '../../src/cache/threaded-cache.js';
import { append, LIMITS } from './requests.js';

const cache = await openCache({ folder: process.argv[2]!, limits: LIMITS });
const reply = await cache.append(append('telemetry', ['one']));
console.log(`stored ${reply.ranges[0]!.from}`);

/** Starts a broker, says where, and stays until it is killed; the test of the watchdog kills it. */
import { startMosquitto } from './mosquitto.js';

const { pid, folder } = await startMosquitto();
console.log(JSON.stringify({ pid, folder }));
setInterval(() => undefined, 60_000);

/** MQTT.js as it is commonly used: without storage, with as many publishes under way as the window says. */
import mqtt from 'mqtt';
import { readTask, report } from './task.js';

const { port, count, qos, window, payloadSizeBytes } = readTask();
const payload = Buffer.alloc(payloadSizeBytes, 0x61);
const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: 'mqttjs', clean: true });
const startMs = performance.now();
let sent = 0;
let done = 0;

await new Promise<void>((resolve, reject) => {
  const next = (): void => {
    while (sent - done < window && sent < count) {
      sent++;
      client.publish('bench/mqttjs', payload, { qos }, (error) => {
        if (error) {
          reject(error);
          return;
        }
        done++;
        if (done === count) resolve();
        else next();
      });
    }
  };
  next();
});
report({ count, elapsedMs: performance.now() - startMs });
await client.endAsync();

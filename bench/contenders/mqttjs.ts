/** MQTT.js as it is commonly used: without storage, with as many publishes under way as the window says. */
import mqtt, { type MqttClient } from 'mqtt';
import { type Arrival, watchArrival } from './arrival.js';
import { measure, type Publisher } from './measurement.js';
import { readTask, type Task } from './task.js';

class MqttjsPublisher implements Publisher {
  readonly #task: Task;
  readonly #client: MqttClient;
  readonly #arrival: Arrival | undefined;
  readonly #payload: Buffer;
  #sent = 0;
  #done = 0;

  constructor(task: Task, client: MqttClient, arrival: Arrival | undefined) {
    this.#task = task;
    this.#client = client;
    this.#arrival = arrival;
    this.#payload = Buffer.alloc(task.payloadSizeBytes, 0x61);
  }

  acknowledged(): number {
    return this.#done;
  }

  async publish(count: number): Promise<void> {
    const wanted = this.#sent + count;
    const arrived = this.#arrival?.reach(wanted);
    await new Promise<void>((resolve, reject) => {
      const { qos, window } = this.#task;
      const next = (): void => {
        while (this.#sent - this.#done < window && this.#sent < wanted) {
          this.#sent++;
          this.#client.publish('bench/mqttjs', this.#payload, { qos }, (error) => {
            if (error) {
              reject(error);
              return;
            }
            this.#done++;
            if (this.#done === wanted) resolve();
            else next();
          });
        }
      };
      this.#client.once('close', () => reject(new Error('The broker has closed the connection.')));
      next();
    });
    await arrived;
  }
}

const task = readTask();
const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${task.port}`, {
  clientId: 'bench-mqttjs',
  clean: true,
  reconnectPeriod: 0,
});
await measure(new MqttjsPublisher(task, client, task.qos === 0 ? await watchArrival(task) : undefined));
process.exit(0);

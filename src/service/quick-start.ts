/**
 * What runs when there is no configuration: a broker inside the process, this machine's own sensors as input, one
 * connector between them. Everything but the broker is what runs in a plant.
 */
import { type Config, configSchema } from '../config/config.js';
import { type EmbeddedBroker, openEmbeddedBroker } from './embedded-broker.js';

const BROKER_PORT = 1883;

export interface QuickStart {
  broker: EmbeddedBroker;
  config: Config;
}

export async function openQuickStart(dataDir: string): Promise<QuickStart> {
  const broker = await openEmbeddedBroker(BROKER_PORT);
  const config = configSchema.parse({
    dataDir,
    connectors: [
      {
        id: 'quick-start',
        name: 'Quick start',
        // The broker forgets everything when it stops, so that there is no session to come back to.
        settings: { url: broker.url, qos: 1, persistent: false, reconnectPeriod: 1000 },
        caching: { maxSize: '1 GiB' },
        transformers: [{ from: 'sensors', type: 'time-values-to-mqtt', topic: '{pointId}' }],
      },
    ],
    inputs: [{ id: 'sensors', type: 'host-sensors', interval: '1 s' }],
    logging: { level: 'warn' },
  });
  return { broker, config };
}

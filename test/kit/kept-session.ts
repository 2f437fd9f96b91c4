/** Asks a broker whether it has a session of a client id. */
import { connect, type IClientOptions } from 'mqtt';
import { within } from './deadline.js';

/** Gives the Session Present of the broker's CONNACK over MQTT 3.1.1. There is a session afterwards in any case. */
export async function hasSession(url: string, clientId: string, login: IClientOptions = {}): Promise<boolean> {
  const client = connect(url, { ...login, clientId, clean: false, protocolVersion: 4, reconnectPeriod: 0 });
  const connack = new Promise<boolean>((resolve, reject) => {
    client.once('connect', ({ sessionPresent }) => resolve(sessionPresent));
    client.once('error', reject);
  });
  try {
    return await within(connack, () => `the broker to tell whether it has a session of ${clientId}`);
  } finally {
    await client.endAsync(true);
  }
}

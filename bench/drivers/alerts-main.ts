/**
 * The process that sends alerts and subscribes to them. It is one process, so that there is one clock; and it does
 * nothing else, so that it reads a message when it arrives.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { eventually } from '../../test/kit/deadline.js';
import { contentPath } from '../service.js';
import type { AlertResult, AlertTask } from './alerts.js';
import { type DriverControl, serveDriver } from './driver.js';
import { encodeRequest, HttpConnection } from './http-connection.js';
import { RawSubscriber } from './raw-subscriber.js';

/** So many alerts may wait for their receipts; later ones would wait for a free connection, and their times show it. */
const CONNECTIONS_COUNT = 16;
/** One every 10 to 20 ms, without a period that another one could fall into step with. */
const PAUSE_LEAST_MS = 10;
const PAUSE_SPREAD_MS = 11;
const PAUSE_STEP_MS = 7;
const ARRIVAL_TIMEOUT_MS = 60_000;
/** The first ones of a new process wait for its own compiler; they are sent and not counted. */
const WARM_UP_COUNT = 20;

serveDriver<AlertTask, AlertResult>(sendAlerts);

async function sendAlerts(task: AlertTask, control: DriverControl<never>): Promise<AlertResult> {
  const { servicePort, brokerPort } = task;
  const alertsCount = WARM_UP_COUNT + task.alertsCount;
  const arrivedMs: number[] = [];
  const acceptedMs: number[] = [];
  const dueMs: number[] = [];
  let failure: Error | undefined;
  const subscriber = new RawSubscriber({
    port: brokerPort,
    clientId: `alerts-${process.pid}`,
    isPersistent: false,
    filter: 'alert/#',
    qos: 1,
    onPayload: (bytes, at, end) => {
      const nowMs = performance.now();
      const { sender, number } = JSON.parse(bytes.toString('latin1', at, end)) as { sender: number; number: number };
      if (sender === process.pid) arrivedMs[number] ??= nowMs;
    },
  });
  await subscriber.ready;
  const free = await Promise.all(Array.from({ length: CONNECTIONS_COUNT }, () => HttpConnection.open(servicePort)));
  const connections = [...free];
  const waiting: number[] = [];

  const send = (connection: HttpConnection, number: number): void => {
    const payload = { sender: process.pid, number, text: 'pressure above limit' };
    const body = JSON.stringify([{ topic: 'alert/press-line', payload, lane: 'alert', qos: 1 }]);
    connection.send(encodeRequest(contentPath('messages'), Buffer.from(body)), (error) => {
      acceptedMs[number] = performance.now();
      failure ??= error;
      const next = waiting.shift();
      if (next === undefined) free.push(connection);
      else send(connection, next);
    });
  };

  control.ready();
  let nextMs = performance.now();
  for (let number = 0; number < alertsCount; number++) {
    dueMs.push(nextMs);
    const connection = free.pop();
    if (connection === undefined) waiting.push(number);
    else send(connection, number);
    nextMs += PAUSE_LEAST_MS + ((number * PAUSE_STEP_MS) % PAUSE_SPREAD_MS);
    await delay(Math.max(0, nextMs - performance.now()));
  }
  const countOf = (times: readonly number[]): number => times.filter((time) => time !== undefined).length;
  await eventually(
    () => failure !== undefined || (countOf(arrivedMs) === alertsCount && countOf(acceptedMs) === alertsCount),
    () => `${alertsCount} alerts; ${countOf(acceptedMs)} are accepted, ${countOf(arrivedMs)} have arrived`,
    ARRIVAL_TIMEOUT_MS,
  );
  if (failure !== undefined) throw failure;
  subscriber.close();
  for (const connection of connections) connection.close();
  const timesOf = (time: (number: number) => number): number[] =>
    Array.from({ length: task.alertsCount }, (_unused, index) => time(WARM_UP_COUNT + index));
  return {
    acceptMs: timesOf((number) => acceptedMs[number]! - dueMs[number]!),
    deliveryMs: timesOf((number) => Math.max(0, arrivedMs[number]! - acceptedMs[number]!)),
    wholeMs: timesOf((number) => arrivedMs[number]! - dueMs[number]!),
  };
}

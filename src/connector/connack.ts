/** The answer to CONNECT, read by a client that asks and does not stay. */
import type { IConnackPacket } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import { connackError } from '../session/connect-error.js';
import { type ConnackGrant, connackProblem, grantOf } from '../wire/control-packets.js';

/** Gives what the broker grants, or why it does not. */
export function readConnack(packet: IConnackPacket, protocolVersion: 4 | 5): ConnackGrant | NorthError {
  const refused = connackError(packet, protocolVersion);
  if (refused !== undefined) return refused;
  const problem = connackProblem(packet);
  if (problem === undefined) return grantOf(packet);
  return new NorthError('BROKER_PROTOCOL', `The CONNACK of the broker cannot be used: ${problem}.`);
}

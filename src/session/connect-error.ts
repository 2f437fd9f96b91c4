/** The broker's refusals of a connection, as our errors [MQTT 3.1.1 §3.2.2.3, MQTT 5.0 §3.2.2.2, §3.14.2.1]. */
import type { IConnackPacket } from 'mqtt-packet';
import { NorthError } from '../core/error.js';
import type { ErrorCode } from '../core/error-codes.js';
import { reasonName } from '../core/reason-codes.js';

const CODES_OF_V3: Readonly<Record<number, { code: ErrorCode; text: string }>> = {
  1: { code: 'BROKER_VERSION', text: 'unacceptable protocol version' },
  2: { code: 'CLIENT_ID_REFUSED', text: 'client id rejected' },
  3: { code: 'BROKER_REJECTED', text: 'server unavailable' },
  4: { code: 'BROKER_AUTHENTICATION', text: 'bad user name or password' },
  5: { code: 'BROKER_NOT_AUTHORIZED', text: 'not authorized' },
};

const CODES_OF_V5: Readonly<Record<number, ErrorCode>> = {
  132: 'BROKER_VERSION',
  133: 'CLIENT_ID_REFUSED',
  134: 'BROKER_AUTHENTICATION',
  135: 'BROKER_NOT_AUTHORIZED',
  138: 'BROKER_NOT_AUTHORIZED',
  140: 'BROKER_AUTHENTICATION',
  142: 'CLIENT_ID_TAKEN',
};

/** The refusal in a CONNACK, or undefined when the broker has accepted. */
export function connackError(packet: IConnackPacket, protocolVersion: 4 | 5): NorthError | undefined {
  // The old form has a return code, also as the answer of an old broker to an MQTT 5 CONNECT.
  const returnCode = packet.returnCode ?? 0;
  const reasonCode = packet.reasonCode ?? 0;
  if (returnCode > 0 && packet.reasonCode === undefined) {
    const known = CODES_OF_V3[returnCode];
    const text = known?.text ?? `return code ${returnCode}`;
    return new NorthError(known?.code ?? 'BROKER_REJECTED', `The broker refused the connection: ${text}.`);
  }
  if (reasonCode < 0x80) {
    return returnCode === 0 && reasonCode === 0
      ? undefined
      : new NorthError(
          'BROKER_REJECTED',
          `The broker refused the connection with code ${reasonCode} (MQTT ${protocolVersion}).`,
        );
  }
  const code = CODES_OF_V5[reasonCode] ?? 'BROKER_REJECTED';
  return new NorthError(
    code,
    `The broker refused the connection: ${describe(reasonCode, packet.properties?.reasonString)}.`,
  );
}

/** The reason in a DISCONNECT of the broker. */
export function disconnectError(reasonCode: number, reasonText: string | undefined): NorthError {
  const code: ErrorCode = reasonCode === 0x8e ? 'CLIENT_ID_TAKEN' : 'BROKER_CLOSED';
  return new NorthError(code, `The broker closed the connection: ${describe(reasonCode, reasonText)}.`);
}

function describe(reasonCode: number, reasonText: string | undefined): string {
  const name = `0x${reasonCode.toString(16).padStart(2, '0')} ${reasonName(reasonCode)}`;
  return reasonText === undefined || reasonText === '' ? name : `${name}, "${reasonText}"`;
}

/** What to call an end without a reason: before the broker has accepted us it is a refusal, afterwards a loss. */
export function endOf(error: NorthError | undefined, wasUp: boolean): NorthError {
  if (error !== undefined && error.code !== 'BROKER_CLOSED') return error;
  if (wasUp) return new NorthError('CONNECTION_LOST', 'The broker closed the connection.');
  return error ?? new NorthError('BROKER_CLOSED', 'The broker closed the connection without a reason.');
}

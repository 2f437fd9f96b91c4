/** What it means that a connection ends between its opening and the broker's answer to CONNECT. */
import { NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';

/**
 * A broker that does not like our CONNECT closes or, with bytes of us unread, resets: to us both are the same refusal
 * without a reason. What the transport adds to the remedy, a hint at our certificate for example, is kept.
 */
export function handshakeFailure(error: NorthError | undefined): NorthError {
  const text = 'The broker closed the connection instead of answering CONNECT.';
  if (error === undefined) return new NorthError('BROKER_CLOSED', text);
  if (error.code !== 'CONNECTION_LOST' && error.code !== 'BROKER_CLOSED') return error;
  return new NorthError('BROKER_CLOSED', text, {
    remedy: error.remedy.replace(ERRORS.CONNECTION_LOST.remedy, ERRORS.BROKER_CLOSED.remedy),
    cause: error,
    ...(error.place === undefined ? {} : { place: error.place }),
  });
}

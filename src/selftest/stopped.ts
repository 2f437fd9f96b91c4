/** How a self-test ends that was stopped by a signal. */
import { NorthError } from '../core/error.js';

export function stoppedError(): NorthError {
  return new NorthError('SERVICE_STOPPING', 'The self-test was stopped.', {
    remedy: 'It says nothing about this machine then, and has left nothing behind. Start it again when there is time.',
  });
}

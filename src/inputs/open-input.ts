/** From the configuration of an input to the input. */
import type { InputConfig } from '../config/inputs.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { FolderInput } from './folder.js';
import { HostSensors } from './host-sensors.js';
import type { Delivery, Input } from './input.js';

/** The input, not yet started. */
export function openInput(
  config: InputConfig,
  delivery: Delivery,
  { clock, logger }: { clock: Clock; logger: Logger },
): Input {
  switch (config.type) {
    case 'folder':
      return new FolderInput({ config, delivery, clock, logger });
    case 'host-sensors':
      return new HostSensors({ config, delivery, clock, logger });
  }
}

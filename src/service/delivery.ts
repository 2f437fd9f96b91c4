/** Hands what an input has to every connector that it feeds. */
import type { Connector } from '../connector/connector.js';
import type { Content, ContentType, Source } from '../core/content.js';
import { NorthError } from '../core/error.js';
import {
  decodeFileProgress,
  type FileContent,
  type FileOptions,
  type FileProgress,
  type FileReceipt,
} from '../inputs/file.js';
import type { Delivered, Delivery } from '../inputs/input.js';

export interface DeliveryOptions {
  inputId: string;
  /** The connectors that the input names; undefined: all that have a transformer for what it brings. */
  connectorIds: readonly string[] | undefined;
  connectors: () => readonly Connector[];
}

export class ConnectorDelivery implements Delivery {
  readonly #options: DeliveryOptions;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  async deliver(content: Content, source: Source): Promise<Delivered> {
    const receipts = await all(this.#targets(content.type, source).map((target) => target.accept(content, { source })));
    return {
      accepted: Math.min(...receipts.map((receipt) => receipt.accepted)),
      rejected: receipts.flatMap((receipt) => receipt.rejected),
    };
  }

  async deliverFile(content: FileContent, options: FileOptions): Promise<FileReceipt> {
    const targets = this.#targets(content.type, options.source);
    const receipts = await all(targets.map((target) => target.acceptFile(content, options)));
    return receipts.reduce((least, receipt) => (receipt.rowsTaken < least.rowsTaken ? receipt : least));
  }

  async fileProgress(positionSource: string): Promise<readonly FileProgress[]> {
    const progress: FileProgress[] = [];
    for (const connector of this.#fed()) {
      const stored = await connector.position(positionSource);
      const decoded = stored === undefined ? undefined : decodeFileProgress(stored);
      if (decoded !== undefined) progress.push(decoded);
    }
    return progress;
  }

  #fed(): readonly Connector[] {
    const { connectorIds, connectors } = this.#options;
    const all = connectors();
    return connectorIds === undefined ? all : all.filter(({ id }) => connectorIds.includes(id));
  }

  #targets(type: ContentType, source: Source): readonly Connector[] {
    const targets = this.#fed().filter((connector) => connector.takes(type, source));
    // Content that no connector takes stays where it is: a folder keeps the file, and the state of the input says why.
    if (targets.length === 0) {
      const text = `No connector has a transformer for ${type} from the input "${this.#options.inputId}".`;
      throw new NorthError('TRANSFORMER_MISSING', text);
    }
    return targets;
  }
}

/** Waits for all of them, also when one fails, so that nothing is still under way when the caller goes on. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

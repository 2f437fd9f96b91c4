/** Hands content to connectors and makes the answer: a receipt only for what every one of them has stored. */
import type { Connector, Receipt } from '../connector/connector.js';
import type { Content, Rejection } from '../core/content.js';
import { NorthError } from '../core/error.js';
import { ERRORS } from '../core/error-codes.js';
import { type Outcome, PartialError, REJECTIONS_MAX, rejectionsOf } from './answer.js';
import { type Caller, mayReach } from './caller.js';
import { checkCount, type ParsedContent } from './content-form.js';
import { findConnector, type RouteContext } from './route.js';

export interface Handover {
  connectors: readonly Connector[];
  source: string;
  idempotencyKey: string | undefined;
}

export interface ReceiptAnswer {
  /** One per connector, joined with commas. */
  receipt: string;
  /** With several connectors, the fewest that one of them has stored. */
  accepted: number;
  /** Of the accepted, those that went to quarantine. */
  quarantined: number;
  rejectedCount: number;
  rejected: readonly (Rejection & { connector?: string })[];
  /** With several connectors, the receipt of each. */
  connectors?: readonly { connector: string; receipt: string; accepted: number; quarantined: number }[];
}

/** Throws SERVICE_STOPPING, TOKEN_FORBIDDEN, CONNECTOR_UNKNOWN or TRANSFORMER_MISSING before anything is read. */
export function chooseConnectors(
  context: RouteContext,
  caller: Caller,
  ids: readonly string[],
  type: Content['type'],
  source: string,
): Connector[] {
  if (context.service.stopping) throw new NorthError('SERVICE_STOPPING', 'The service is stopping.');
  const connectors = ids.map((id) => findConnector(context, caller, id));
  for (const connector of connectors) {
    if (connector.takes(type, source)) continue;
    throw new NorthError(
      'TRANSFORMER_MISSING',
      `No transformer of the connector "${connector.id}" takes ${type} from "${source}".`,
    );
  }
  return connectors;
}

/** The ids to name in a hint: those that the caller may know of. */
export function reachableIds(context: RouteContext, caller: Caller): string[] {
  return context.service
    .connectors()
    .map((connector) => connector.id)
    .filter((id) => mayReach(caller, id));
}

/**
 * Two producers may well choose the same key, such as a counter; each token has its own keys, so that nobody gets the
 * receipt of somebody else's content.
 */
export function scopedKey(caller: Caller, key: string | undefined): string | undefined {
  if (key === undefined || caller.name === undefined) return key;
  return `${caller.name}/${key}`;
}

/**
 * Resolves when every connector has the content on stable storage. Rejects with the first connector's error otherwise;
 * with several, the error says which of them have stored it.
 */
export async function handOver(parsed: ParsedContent, handover: Handover): Promise<ReceiptAnswer> {
  const { content } = parsed;
  if ('elements' in content && content.elements.length === 0 && parsed.rejected.length > 0) {
    throw new NorthError('CONTENT_EMPTY', 'No line of the content is valid JSON.', {
      cause: { rejections: parsed.rejected },
    });
  }
  if ('elements' in content) checkCount(content.elements.length + parsed.rejected.length);
  const options = {
    source: handover.source,
    ...(handover.idempotencyKey === undefined ? {} : { idempotencyKey: handover.idempotencyKey }),
  };
  const [first, ...others] = handover.connectors;
  if (first !== undefined && others.length === 0) {
    const receipt = await acceptOne(first, parsed, options);
    return answerOne(receipt, parsed);
  }
  const results = await Promise.allSettled(
    handover.connectors.map((connector) => acceptOne(connector, parsed, options)),
  );
  return answerSeveral(handover.connectors, results, parsed);
}

async function acceptOne(
  connector: Connector,
  parsed: ParsedContent,
  options: { source: string; idempotencyKey?: string },
): Promise<Receipt> {
  try {
    const receipt = await connector.accept(parsed.content, options);
    return parsed.indices === undefined ? receipt : { ...receipt, rejected: inBody(receipt.rejected, parsed.indices) };
  } catch (error) {
    if (parsed.indices === undefined || !(error instanceof NorthError)) throw error;
    const rejected = rejectionsOf(error);
    if (rejected === undefined) throw error;
    const rejections = merge(parsed.rejected, inBody(rejected, parsed.indices));
    throw new NorthError(error.code, error.message, { remedy: error.remedy, cause: { rejections } });
  }
}

/** The connector counts the elements that it got; the producer counts the lines that it sent. */
function inBody(rejections: readonly Rejection[], indices: readonly number[]): Rejection[] {
  return rejections.map((rejection) => ({ ...rejection, index: indices[rejection.index] ?? rejection.index }));
}

function merge(lines: readonly Rejection[], elements: readonly Rejection[]): Rejection[] {
  return [...lines, ...elements].sort((a, b) => a.index - b.index);
}

function answerOne(receipt: Receipt, parsed: ParsedContent): ReceiptAnswer {
  const rejected = parsed.rejected.length === 0 ? receipt.rejected : merge(parsed.rejected, receipt.rejected);
  return {
    receipt: receipt.receipt,
    accepted: receipt.accepted,
    quarantined: receipt.quarantined,
    rejectedCount: rejected.length,
    rejected: rejected.length > REJECTIONS_MAX ? rejected.slice(0, REJECTIONS_MAX) : rejected,
  };
}

function answerSeveral(
  connectors: readonly Connector[],
  results: readonly PromiseSettledResult<Receipt>[],
  parsed: ParsedContent,
): ReceiptAnswer {
  const stored: { connector: string; receipt: string; accepted: number; quarantined: number }[] = [];
  const rejected: (Rejection & { connector?: string })[] = [...parsed.rejected];
  const outcomes: Outcome[] = [];
  const failures: { error: unknown; id: string }[] = [];
  for (const [index, result] of results.entries()) {
    const id = connectors[index]!.id;
    if (result.status === 'rejected') {
      failures.push({ error: result.reason, id });
      outcomes.push({ connector: id, stored: false, ...describe(result.reason) });
      continue;
    }
    const { receipt, accepted, quarantined } = result.value;
    stored.push({ connector: id, receipt, accepted, quarantined });
    outcomes.push({ connector: id, stored: true, receipt, accepted, quarantined });
    for (const rejection of result.value.rejected) rejected.push({ ...rejection, connector: id });
  }
  if (failures.length > 0) throw partialError(failures, stored, outcomes);
  return {
    receipt: stored.map((one) => one.receipt).join(','),
    accepted: Math.min(...stored.map((one) => one.accepted)),
    quarantined: Math.max(...stored.map((one) => one.quarantined)),
    rejectedCount: rejected.length,
    rejected: rejected.slice(0, REJECTIONS_MAX),
    connectors: stored,
  };
}

function describe(error: unknown): Pick<Outcome, 'code' | 'message' | 'remedy'> {
  // What is no NorthError may quote anything; it goes to the log alone.
  if (!(error instanceof NorthError)) return { code: 'INTERNAL' };
  return { code: error.code, message: error.message, remedy: error.remedy };
}

/** The first connector's error, unless something unforeseen happened in any: that weighs more and must be logged. */
function partialError(
  failures: readonly { error: unknown; id: string }[],
  stored: readonly { connector: string }[],
  outcomes: readonly Outcome[],
): PartialError {
  const unforeseen = failures.map(({ error }) => error).filter((error) => !(error instanceof NorthError));
  const first = failures[0]!;
  const cause =
    first.error instanceof NorthError && unforeseen.length === 0
      ? first.error
      : new NorthError('INTERNAL', ERRORS.INTERNAL.meaning, { cause: new AggregateError(unforeseen) });
  const others = stored.map((one) => `"${one.connector}"`).join(', ');
  const rest =
    stored.length === 0
      ? 'No connector has stored it.'
      : `Stored already in ${others}: repeat with the same Idempotency-Key to store it nowhere twice.`;
  return new PartialError(cause, `Connector "${first.id}": ${cause.message} ${rest}`, outcomes);
}

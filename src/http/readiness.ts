/** Whether content is taken by everything that is there to take it, and if not, why. */
import { type Caller, mayReach } from './caller.js';
import type { Readiness, Service } from './service.js';

/** A connector that has failed is named to those who may know of it; the others learn that there is one. */
export function readinessOf(service: Service, caller: Caller): Readiness {
  if (service.stopping) return { ready: false, reasons: ['The service is stopping.'] };
  const failures = service.connectors().flatMap(({ id, failedBy }) => {
    if (failedBy === undefined) return [];
    if (!mayReach(caller, id)) return ['A connector has failed.'];
    return [`The connector ${id} has failed (${failedBy.code}): ${failedBy.message}`];
  });
  const reasons = [...service.readiness().reasons, ...new Set(failures)];
  return { ready: reasons.length === 0, reasons };
}

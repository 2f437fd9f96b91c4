/** What the broker granted, with our own settings where it said nothing. */
import type { ConnectionSettings } from '../config/settings.js';
import type { ConnackGrant } from '../wire/control-packets.js';
import type { Grant } from './connector.js';
import type { Attempt } from './reconnect.js';

/**
 * @param clientId what we asked for; a broker that assigns another one is heard.
 * @param keepsSession whether a session was asked for that outlives the connection.
 */
export function completeGrant(
  grant: ConnackGrant,
  attempt: Attempt,
  settings: ConnectionSettings,
  clientId: string,
  keepsSession: boolean,
): Grant {
  const { protocolVersion } = attempt;
  return {
    broker: attempt.broker.display,
    protocolVersion,
    sessionPresent: grant.sessionPresent,
    clientId: grant.assignedClientId ?? clientId,
    maximumQos: grant.maximumQos,
    receiveMaximum: grant.receiveMaximum,
    maximumPacketSizeBytes: grant.maximumPacketSizeBytes,
    retainAvailable: grant.retainAvailable,
    topicAliasMaximum: grant.topicAliasMaximum,
    keepaliveSeconds: grant.serverKeepaliveSeconds ?? settings.keepalive,
    // MQTT 3.1.1 has no expiry: the broker alone decides how long it keeps a session.
    sessionExpirySeconds:
      protocolVersion === 4 || !keepsSession
        ? undefined
        : (grant.sessionExpirySeconds ?? settings.sessionExpiryInterval),
  };
}

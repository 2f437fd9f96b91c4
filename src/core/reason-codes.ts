/**
 * What a broker's reason codes mean, for technicians: those of MQTT 5 [MQTT 5.0 §2.4] and the return codes of the
 * CONNACK in MQTT 3.1.1 [MQTT 3.1.1 §3.2.2.3]. The meanings are told from our side, that of a publisher.
 */
export type ReasonPacket =
  | 'CONNACK'
  | 'PUBACK'
  | 'PUBREC'
  | 'PUBREL'
  | 'PUBCOMP'
  | 'SUBACK'
  | 'UNSUBACK'
  | 'DISCONNECT'
  | 'AUTH';

export interface ReasonText {
  meaning: string;
  remedy: string;
}

export interface ReasonEntry {
  code: number;
  /** As in the specification, in lower case. */
  name: string;
  /** The packets that may carry it, each with what it means there. */
  packets: ReadonlyMap<ReasonPacket, ReasonText>;
}

type PacketWord = 'C' | 'A' | 'R' | 'L' | 'P' | 'S' | 'U' | 'D' | 'X';

const PACKETS: Readonly<Record<PacketWord, ReasonPacket>> = {
  C: 'CONNACK',
  A: 'PUBACK',
  R: 'PUBREC',
  L: 'PUBREL',
  P: 'PUBCOMP',
  S: 'SUBACK',
  U: 'UNSUBACK',
  D: 'DISCONNECT',
  X: 'AUTH',
};

type Special = Partial<Record<string, readonly [meaning: string, remedy: string]>>;

const NOTHING = 'Nothing to do.';
const entries = new Map<number, ReasonEntry>();

/** `packets` is a letter for each packet; a key of `special` lists those letters for which the meaning differs. */
function define(code: number, name: string, packets: string, meaning: string, remedy: string, special: Special = {}) {
  const texts = new Map<ReasonPacket, ReasonText>();
  for (const letter of packets) {
    const own = Object.entries(special).find(([letters]) => letters.includes(letter))?.[1];
    // The letters are literals of this file; one that is no packet would show as a missing name in the test.
    texts.set(PACKETS[letter as PacketWord], { meaning: own?.[0] ?? meaning, remedy: own?.[1] ?? remedy });
  }
  entries.set(code, { code, name, packets: texts });
}

define(0x00, 'success', 'CARLPSUDX', 'The broker did what was asked.', NOTHING, {
  S: ['The subscription was granted with QoS 0.', NOTHING],
  D: ['The connection ends in the normal way; a will is not published.', NOTHING],
});
define(0x01, 'granted QoS 1', 'S', 'The subscription was granted with at most QoS 1.', NOTHING);
define(0x02, 'granted QoS 2', 'S', 'The subscription was granted with QoS 2.', NOTHING);
define(
  0x04,
  'disconnect with will message',
  'D',
  'The client leaves and wants its will to be published all the same.',
  NOTHING,
);
define(
  0x10,
  'no matching subscribers',
  'AR',
  'The broker took the message, but nobody subscribes to its topic, so it went to nobody.',
  'If somebody should have got it, compare the topic with the subscription, letter by letter; MQTT tells upper and ' +
    'lower case apart.',
);
define(0x11, 'no subscription existed', 'U', 'There was no such subscription to remove.', NOTHING);
define(0x18, 'continue authentication', 'X', 'The authentication goes on with another step.', NOTHING);
define(0x19, 're-authenticate', 'X', 'The authentication begins anew on the open connection.', NOTHING);
define(
  0x80,
  'unspecified error',
  'CARSUD',
  'The broker refused and does not say why.',
  "Look into the broker's log at that time.",
  {
    AR: [
      'The broker could not take the message and does not say why. It is sent again after a while.',
      "Look into the broker's log at that time; a full disk or a failing plugin are common causes.",
    ],
    S: ['The subscription failed. Under MQTT 3.1.1 this is the only code for a failure.', 'Check the access rules.'],
  },
);
define(
  0x81,
  'malformed packet',
  'CD',
  'The broker could not parse what it received.',
  'Look for something between the two that changes the bytes, such as a proxy. If there is nothing, please report it.',
);
define(
  0x82,
  'protocol error',
  'CD',
  'The broker says that a packet breaks the rules of MQTT.',
  "See the broker's log for which rule it means, and please report it; fixing protocolVersion to 3.1.1 often helps.",
);
define(
  0x83,
  'implementation specific error',
  'CARSUD',
  'The packet is valid, but this broker does not accept it, for a reason of its own.',
  "See the broker's log and its documentation: the cause is a rule, plugin or limit of that product.",
);
define(
  0x84,
  'unsupported protocol version',
  'C',
  'The broker does not speak the version of MQTT that was asked for.',
  'Set protocolVersion: auto, or the version that the broker speaks.',
);
define(
  0x85,
  'client identifier not valid',
  'C',
  'The broker does not allow this client id.',
  'Set another clientId; many platforms allow only the id of a device that is registered there.',
);
define(
  0x86,
  'bad user name or password',
  'C',
  'The broker does not accept the user name and password.',
  'Check both, letter by letter, and that the user exists and is active on the broker. Tokens expire: make a new one.',
);
define(0x87, 'not authorized', 'CARSUD', 'The broker does not allow this.', "Check the broker's access rules.", {
  C: [
    'We are not allowed to connect: the user, the certificate or the client id has no right to, or is missing.',
    "Check authentication, and the broker's rules for this user, certificate and client id.",
  ],
  AR: [
    'We are not allowed to publish to this topic. The message is set aside, and the topic is paused.',
    "Allow it in the broker's access rules (and retained messages, if retain is set); then retry it from quarantine.",
  ],
  D: [
    'The broker closed the connection because we did something that we are not allowed to.',
    "Often a publish to a topic that is not allowed: check the broker's access rules.",
  ],
});
define(
  0x88,
  'server unavailable',
  'C',
  'The broker runs, but takes no connections now.',
  'Wait: it is tried again. Look at the broker if it lasts.',
);
define(
  0x89,
  'server busy',
  'CD',
  'The broker has too much to do now.',
  "Wait: it is tried again. Look at the broker's load if it lasts.",
);
define(
  0x8a,
  'banned',
  'C',
  'An administrator or an automatic rule has banned this client.',
  "Ask the broker's administrator. Too many connections in a short time often lead to it.",
);
define(0x8b, 'server shutting down', 'D', 'The broker is going down.', 'Wait: the connection comes back with it.');
define(
  0x8c,
  'bad authentication method',
  'CD',
  'The broker does not know the authentication method, or wants another one.',
  'Use authentication.type basic or cert, as the broker is set up for.',
);
define(
  0x8d,
  'keep alive timeout',
  'D',
  'The broker heard nothing from us for one and a half times the keep-alive.',
  'Look at the network. A shorter keepalive notices a bad line earlier; a longer one tolerates it.',
);
define(
  0x8e,
  'session taken over',
  'D',
  'Another client has connected with our client id, and the broker lets only the newer one in.',
  'Find the other client, often a copy of this installation, and give one of the two another clientId.',
);
define(0x8f, 'topic filter invalid', 'SUD', 'The topic filter is not allowed here.', 'Mend the subscription.');
define(
  0x90,
  'topic name invalid',
  'CARD',
  'The topic is well formed, but this broker does not accept it.',
  "See the broker's rules for topics: number of levels, length, reserved beginnings. Mend the mapping, then retry.",
  {
    C: ['The topic of the will is not accepted by this broker.', 'Mend will.topic.'],
  },
);
define(
  0x91,
  'packet identifier in use',
  'ARSU',
  'The broker still holds another message under this packet id; our sessions do not agree.',
  'It mends itself with the next connection. If it comes again and again, look for two clients with one client id.',
);
define(
  0x92,
  'packet identifier not found',
  'LP',
  'The other side does not know this packet id any more; its session was lost.',
  'Nothing to do: the exchange ends here. See that the broker keeps its sessions over a restart.',
);
define(
  0x93,
  'receive maximum exceeded',
  'D',
  'More messages were under way than the broker said that it takes.',
  'Set inflightMax to a smaller number, and please report it.',
);
define(0x94, 'topic alias invalid', 'D', 'A topic alias is not known to the broker.', 'Please report it.');
define(
  0x95,
  'packet too large',
  'CD',
  'A packet is larger than the broker takes.',
  "Raise the broker's limit or split the payload. The message in question goes to quarantine.",
);
define(
  0x96,
  'message rate too high',
  'D',
  'Messages came faster than the broker allows.',
  'Set rateLimit to what the broker allows.',
);
define(
  0x97,
  'quota exceeded',
  'CARSD',
  'A limit that the broker sets for this client or account is reached.',
  "See the broker's quotas. It is tried again after a while; rateLimit or inflightMax keep below the limit.",
);
define(
  0x98,
  'administrative action',
  'D',
  'An administrator closed the connection.',
  "Ask the broker's administrator if it happens again.",
);
define(
  0x99,
  'payload format invalid',
  'CARD',
  'The payload is not of the form that it claims or that the broker expects.',
  'Look at the payload in quarantine: text must be UTF-8, and some platforms want JSON. Mend it, then retry.',
  { C: ['The payload of the will is not of the form that the broker expects.', 'Mend will.payload.'] },
);
define(
  0x9a,
  'retain not supported',
  'CD',
  'The broker does not keep retained messages.',
  'Set retain: false, also in will and transformers.',
);
define(
  0x9b,
  'QoS not supported',
  'CD',
  'The broker does not support this QoS.',
  'Set qos to what the broker supports, also in will and transformers; "mqtt-north test" shows it.',
);
define(
  0x9c,
  'use another server',
  'CD',
  'The broker asks us to use another server for now.',
  'Add the other server to brokers, or put it into url.',
);
define(0x9d, 'server moved', 'CD', 'The broker has moved for good.', 'Put the new address into url.');
define(
  0x9e,
  'shared subscriptions not supported',
  'SD',
  'The broker has no shared subscriptions.',
  'Subscribe without $share.',
);
define(
  0x9f,
  'connection rate exceeded',
  'CD',
  'Too many connections in a short time.',
  'Raise reconnectPeriod, and look why the connection breaks so often.',
);
define(
  0xa0,
  'maximum connect time',
  'D',
  'The broker ends every connection after a certain time.',
  'Nothing to do: it reconnects by itself. With tokens, see that a new one is at hand.',
);
define(
  0xa1,
  'subscription identifiers not supported',
  'SD',
  'The broker has no subscription identifiers.',
  'Subscribe without an identifier.',
);
define(
  0xa2,
  'wildcard subscriptions not supported',
  'SD',
  'The broker has no wildcards in subscriptions.',
  'Subscribe to each topic by its name.',
);

/** All reason codes of MQTT 5, ascending. */
export const REASON_ENTRIES: readonly ReasonEntry[] = [...entries.values()];

/** The return codes of the CONNACK in MQTT 3.1.1, with the MQTT 5 code that says the same. */
export const RETURN_CODES: ReadonlyMap<number, { name: string; reasonCode: number }> = new Map([
  [0, { name: 'connection accepted', reasonCode: 0x00 }],
  [1, { name: 'unacceptable protocol version', reasonCode: 0x84 }],
  [2, { name: 'identifier rejected', reasonCode: 0x85 }],
  [3, { name: 'server unavailable', reasonCode: 0x88 }],
  [4, { name: 'bad user name or password', reasonCode: 0x86 }],
  [5, { name: 'not authorized', reasonCode: 0x87 }],
]);

export function reasonEntry(code: number): ReasonEntry | undefined {
  return entries.get(code);
}

/** "not authorized" for 0x87; for a number that MQTT 5 does not define, "unknown reason". */
export function reasonName(code: number): string {
  return entries.get(code)?.name ?? 'unknown reason';
}

/** `0x87`. */
export function formatReasonCode(code: number): string {
  return `0x${code.toString(16).toUpperCase().padStart(2, '0')}`;
}

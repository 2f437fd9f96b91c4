/** What the server bounds, and what happens at each bound. */
export interface ServerLimits {
  /** Requests with a body that are under way at once; one more is refused with 429. */
  requestsMax: number;
  /** Memory for their bodies, unpacked, and what is made of them; what is over it is refused with 429. */
  bodiesSizeMaxBytes: number;
  /** Connections at once; one more is closed at once. */
  connectionsMax: number;
  /** Longest time for the header of a request, however slowly its bytes drip in; then 408 and the end. */
  headersTimeoutMs: number;
  /** Longest time for a whole request; then 408 and the end. */
  requestTimeoutMs: number;
  /** How long a connection without requests is kept. */
  keepAliveMs: number;
  /** How long the rest of a body is thrown away after the answer was sent; then the end. */
  lingerMs: number;
}

export const SERVER_LIMITS: ServerLimits = {
  requestsMax: 2000,
  bodiesSizeMaxBytes: 512 * 1024 * 1024,
  connectionsMax: 5000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 300_000,
  keepAliveMs: 75_000,
  lingerMs: 5000,
};

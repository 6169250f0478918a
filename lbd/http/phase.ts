/** Where a client connection is: nothing of a request is here. */
export const IDLE = 0;
/** A request has begun, its head is not complete. */
export const HEAD = 1;
/** A backend connection is being made; nothing of the request has left yet. */
export const CONNECTING = 2;
/** A backend works on the request. */
export const EXCHANGE = 3;
/** Upgraded: bytes go both ways unread. */
export const TUNNEL = 4;
/** The last answer is out; input is thrown away until the client closes. */
export const LINGER = 5;
export const CLOSED = 6;

export type Phase =
  | typeof IDLE
  | typeof HEAD
  | typeof CONNECTING
  | typeof EXCHANGE
  | typeof TUNNEL
  | typeof LINGER
  | typeof CLOSED;

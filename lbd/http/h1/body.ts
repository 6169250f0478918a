/** How the body of a message is delimited (RFC 9112 §6). */
export const BODY = { none: 0, length: 1, chunked: 2, untilClose: 3 } as const;
export type Framing = 0 | 1 | 2 | 3;

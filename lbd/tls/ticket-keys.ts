import { hkdfSync } from 'node:crypto';

/** What seals a ticket: name, HMAC key and AES key, of equal length (RFC 5077 section 4). */
export const TICKET_KEY_BYTES = 48;

/**
 * Keys that seal the session tickets of one frontend. Equal in every worker and on both nodes, so that a client resumes
 * its session wherever it comes to, also after a takeover. Another frontend, another policy for client certificates or
 * another secret: other keys, so that a session never lets a client into what it could not enter anew.
 *
 * @param secret 32 random bytes, see `TicketRing`
 * @param policy what clients must show to enter, such as the fingerprint of the authorities
 */
export function ticketKeys(secret: Uint8Array, frontend: string, policy: string): Buffer {
  const info = JSON.stringify(['tandem tickets v1', frontend, policy]);
  return Buffer.from(hkdfSync('sha256', secret, '', info, TICKET_KEY_BYTES));
}

import { hkdfSync } from 'node:crypto';

/** As `tls.createSecureContext` takes them: name, HMAC key and AES key, 16 bytes each. */
const TICKET_KEY_BYTES = 48;

/**
 * Keys that seal the session tickets of one frontend. Equal in every worker and on both nodes, so that a client resumes
 * its session wherever it comes to, also after a takeover. Another frontend, another policy for client certificates or
 * another secret: other keys, so that a session never lets a client into what it could not enter anew.
 *
 * They last as long as the secret: who learns the secret can read resumed sessions that were recorded before.
 *
 * @param secret 32 bytes, derived from the cluster's secret; without a cluster random
 * @param policy what clients must show to enter, such as the fingerprint of the authorities
 */
export function ticketKeys(secret: Uint8Array, frontend: string, policy: string): Buffer {
  const info = JSON.stringify(['tandem tickets v1', frontend, policy]);
  return Buffer.from(hkdfSync('sha256', secret, '', info, TICKET_KEY_BYTES));
}

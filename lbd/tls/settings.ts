import { constants } from 'node:crypto';
import type { SecureContextOptions, SecureVersion } from 'node:tls';
import type { TlsVersion } from '../../common/tls-config.ts';

/**
 * Suites with forward secrecy and authenticated encryption only: the intermediate profile of Mozilla's server side TLS
 * guidelines 5.7. All of them are strong, so the client picks: it knows whether its hardware has AES.
 */
export const SUITES = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** RFC 8446 section 4.6.1 allows a week; after an hour a client proves anew who it is. */
const SESSION_SECONDS = 3600;

const VERSIONS: Readonly<Record<TlsVersion, SecureVersion>> = { '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' };

/** What all connections of clients have in common. */
export function serverSettings(minVersion: TlsVersion): SecureContextOptions {
  return {
    minVersion: VERSIONS[minVersion],
    ciphers: SUITES,
    honorCipherOrder: false,
    sessionTimeout: SESSION_SECONDS,
    // A client that asks for handshake after handshake costs more than it pays (CVE-2011-1473).
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** What all connections to backends have in common. */
export const BACKEND_SETTINGS: SecureContextOptions = {
  minVersion: 'TLSv1.2',
  ciphers: SUITES,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
};

const CAUSES: Readonly<Record<string, string>> = {
  ECONNRESET: 'the client went away',
  EPIPE: 'the client went away',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'the handshake took too long',
  ERR_SSL_HTTP_REQUEST: 'a plain HTTP request',
  ERR_SSL_WRONG_VERSION_NUMBER: 'not TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the client speaks only versions of TLS that are not allowed',
  ERR_SSL_VERSION_TOO_LOW: 'the client speaks only versions of TLS that are not allowed',
  ERR_SSL_NO_SHARED_CIPHER: 'the client has no cipher suite that is allowed',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'the client has no application protocol that is offered (ALPN)',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'the client has no certificate',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'the client does not trust the certificate (unknown authority)',
  'ERR_SSL_SSL/TLS_ALERT_UNKNOWN_CA': 'the client does not trust the certificate (unknown authority)',
};

/**
 * Why a handshake came to nothing, in words. Few of them, whatever the client does: they are counted and logged by
 * cause. Never quotes the client.
 *
 * @param authorizationError what is wrong with the client's certificate
 */
export function handshakeCause(
  error: NodeJS.ErrnoException | undefined,
  authorizationError: Error | string | null | undefined,
): string {
  const refused =
    authorizationError === null || authorizationError === undefined ? '' : String(authorizationError);
  if (/^[A-Z0-9_]{3,60}$/.test(refused)) return `the client's certificate is refused: ${refused}`;
  const code = error?.code ?? '';
  const known = CAUSES[code];
  if (known !== undefined) return known;
  const alert = /ALERT_([A-Z0-9_]+)$/.exec(code)?.[1];
  if (alert !== undefined) return `the client refused: ${alert.toLowerCase().replaceAll('_', ' ')}`;
  return /^ERR_[A-Z0-9_/]{1,60}$/.test(code) ? `it failed: ${code}` : 'it failed';
}

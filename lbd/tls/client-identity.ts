import type { X509Certificate } from 'node:crypto';
import type net from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { FrontendConfig } from '../../common/model.ts';
import type { FrontendTlsConfig } from '../../common/tls-config.ts';

/** What a backend is told; longer ones are cut off by other servers as well. */
const MAX_SUBJECT = 1024;

/**
 * Subject of a client certificate as RFC 4514 writes it (`CN=alice,O=Shop`), in visible ASCII: what is not is escaped as
 * `\C3\A9`, so that it is a field value whatever the certificate holds.
 *
 * @returns undefined where it is empty or too long to be told
 */
export function subjectText(certificate: Pick<X509Certificate, 'subject'>): string | undefined {
  // One line a RDN, the most significant first; RFC 4514 section 2.1 has it last. A comma within is escaped already.
  const rdns = (certificate.subject ?? '').split('\n').filter((line) => line !== '');
  const text = rdns.toReversed().join(',');
  let out = '';
  for (const byte of Buffer.from(text, 'utf8'))
    out +=
      byte >= 0x20 && byte < 0x7f
        ? String.fromCharCode(byte)
        : `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return out === '' || out.length > MAX_SUBJECT ? undefined : out;
}

/** Whether the client's bytes came through TLS that ended here. */
export function isSecure(socket: net.Socket): socket is TLSSocket {
  return 'encrypted' in socket;
}

/**
 * How a field name looks to applications that cannot tell its other characters from `-`, as with CGI, WSGI and PHP.
 *
 * @param name in lower case
 */
export function hyphened(name: string): string {
  return name.replaceAll(/[^a-z0-9]/g, '-');
}

/**
 * Fields that no client may send, in whatever frontend it comes in: a plain one may lead to the same backends. As
 * `hyphened`; undefined: none.
 */
export function reservedFields(frontends: readonly FrontendConfig[]): ReadonlySet<string> | undefined {
  const names = frontends.flatMap(({ tls }) =>
    tls?.mode === 'terminate' && tls.client !== undefined ? [hyphened(tls.client.header.toLowerCase())] : [],
  );
  return names.length === 0 ? undefined : new Set(names);
}

/** What tells backends who the client is, and in which field; undefined where it has shown no certificate. */
export function identityText(
  socket: TLSSocket,
  tls: FrontendTlsConfig | undefined,
): { header: string; subject: string } | undefined {
  if (tls?.mode !== 'terminate' || tls.client === undefined || !socket.authorized) return undefined;
  const certificate = socket.getPeerX509Certificate();
  const subject = certificate && subjectText(certificate);
  return subject === undefined ? undefined : { header: tls.client.header, subject };
}

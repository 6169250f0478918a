import { createPrivateKey, hash, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { messageOf } from '../../common/errors.ts';

/** A certificate with its key that belong together, and what is to be known about them. */
export interface Certificate {
  /** Equal where chain, key and file are equal; 22 letters of base64url. */
  readonly id: string;
  /** PEM: the certificate itself first. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** Where the certificate was read. */
  readonly file: string;
  /** DNS names that it is for, lower case; `*.` in front stands for exactly one label (RFC 6125 section 6.4.3). */
  readonly names: readonly string[];
  readonly keyType: string;
  /** SHA-256 of the certificate, in hex with colons. */
  readonly fingerprint: string;
  /** Wall clock, milliseconds: it is what the certificate is written in. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Whose it is, and how long. */
export type Lifetime = Pick<Certificate, 'file' | 'names' | 'notBeforeMs' | 'notAfterMs'>;

/** As `tls.createSecureContext` takes them; the rest of a bundle is the chain. */
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]+?-----END (?:[A-Z]+ )*PRIVATE KEY-----/;
const MIN_RSA_BITS = 2048;

/** Tell of an end so long ahead, or at a third of the lifetime where that is less. */
const WARN_DAYS = 14;
const DAY_MS = 86_400_000;

/**
 * Reads a certificate with its chain, and its key, and sees that they fit.
 *
 * @throws Error in words for an operator; it never quotes the key
 */
export function parseCertificate(
  certPem: string,
  keyPem: string,
  file: string,
  keyFile: string,
): Certificate {
  const chain = parseChain(certPem, file);
  const [leaf] = chain as [X509Certificate];
  const keyText = KEY.exec(keyPem)?.[0];
  if (keyText === undefined) throw new Error(`${keyFile}: found no private key, expected PEM`);
  const key = parseKey(keyText, keyFile);
  if (!leaf.checkPrivateKey(key)) throw new Error(`${keyFile}: this key is not the one of ${file}`);
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < MIN_RSA_BITS)
    throw new Error(`${keyFile}: found an RSA key of ${bits} bits, expected at least ${MIN_RSA_BITS}`);
  const names = namesOf(leaf);
  for (const [i, certificate] of chain.entries()) {
    const issuer = chain[i + 1];
    if (issuer !== undefined && !certificate.checkIssued(issuer))
      throw new Error(`${file}: certificate ${i + 2} of the chain did not sign certificate ${i + 1}`);
  }
  const cert = chain.map((certificate) => certificate.toString()).join('');
  try {
    createSecureContext({ cert, key: keyText });
  } catch (error) {
    throw new Error(`${file}: OpenSSL does not take it: ${messageOf(error)}`);
  }
  return {
    // Half of a SHA-256 tells apart what nobody makes equal on purpose.
    id: hash('sha256', `${cert}${keyText}${file}`, 'buffer').subarray(0, 16).toString('base64url'),
    cert,
    key: keyText,
    file,
    names,
    keyType: key.asymmetricKeyType ?? 'unknown',
    fingerprint: leaf.fingerprint256,
    notBeforeMs: Date.parse(leaf.validFrom),
    notAfterMs: Date.parse(leaf.validTo),
  };
}

/**
 * Reads a bundle of authorities.
 *
 * @returns it again, without what is around the certificates
 * @throws Error in words for an operator
 */
export function parseAuthorities(pem: string, file: string): string {
  return parseChain(pem, file)
    .map((certificate) => certificate.toString())
    .join('');
}

/**
 * What an operator should know about how long it lasts.
 *
 * @param nowMs wall clock
 * @returns undefined: nothing
 */
export function expiryWarning(certificate: Lifetime, nowMs: number): string | undefined {
  const { notBeforeMs, notAfterMs, file, names } = certificate;
  const leftMs = notAfterMs - nowMs;
  const warnMs = Math.min(WARN_DAYS * DAY_MS, (notAfterMs - notBeforeMs) / 3);
  // Asked of ten thousand at once, of which few have anything to say.
  if (nowMs >= notBeforeMs && leftMs >= warnMs) return undefined;
  const what = `certificate ${file}${names.length > 0 ? ` (${names.slice(0, 3).join(', ')})` : ''}`;
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (nowMs < notBeforeMs) return `${what} is valid only from ${day(notBeforeMs)} on`;
  if (nowMs >= notAfterMs) return `${what} expired on ${day(notAfterMs)}`;
  const left =
    leftMs >= 2 * DAY_MS ? `${Math.floor(leftMs / DAY_MS)} days` : `${Math.floor(leftMs / 3_600_000)} hours`;
  return `${what} expires in ${left}, on ${day(notAfterMs)}`;
}

function parseChain(pem: string, file: string): X509Certificate[] {
  const texts = pem.match(CERTIFICATE) ?? [];
  if (texts.length === 0) throw new Error(`${file}: found no certificate, expected PEM`);
  return texts.map((text, i) => {
    try {
      return new X509Certificate(text);
    } catch (error) {
      throw new Error(`${file}: certificate ${i + 1} cannot be read: ${messageOf(error)}`);
    }
  });
}

function parseKey(pem: string, file: string): KeyObject {
  if (/ENCRYPTED/.test(pem))
    throw new Error(
      `${file}: the key has a passphrase, which nobody can type at 3 a.m.; store it without one`,
    );
  try {
    return createPrivateKey(pem);
  } catch (error) {
    // OpenSSL names routines and reasons, never bytes.
    throw new Error(`${file}: the key cannot be read: ${messageOf(error)}`);
  }
}

/** DNS names of subjectAltName; of the common name only where there is none (RFC 6125 section 6.4.4). */
function namesOf(certificate: X509Certificate): string[] {
  const names = [...(certificate.subjectAltName ?? '').matchAll(/(?:^|, )DNS:([^,"]+)/g)].map(([, name]) =>
    name!.toLowerCase(),
  );
  if (names.length > 0 || certificate.subjectAltName !== undefined) return [...new Set(names)];
  const common = /^CN=(.+)$/m.exec(certificate.subject)?.[1]?.toLowerCase();
  return common !== undefined && /^(\*\.)?[a-z0-9._-]+$/.test(common) ? [common] : [];
}

import { statSync } from 'node:fs';
import type { Certificate } from './certificate.ts';

interface Entry {
  /** Of both files. */
  readonly identity: string;
  readonly certificate: Certificate;
}

/**
 * Certificates that were read and checked before, for as long as their files stay what they were: to read and check one
 * takes milliseconds, and there may be thousands of which one has changed.
 */
export class CertificateCache {
  /** How many were read and checked since it was made. */
  parsed = 0;
  #known = new Map<string, Entry>();
  #used = new Map<string, Entry>();

  /** @param read called where a file has changed, or was not read before; what it throws is not kept */
  get(certFile: string, keyFile: string, read: () => Certificate): Certificate {
    const key = `${certFile}\0${keyFile}`;
    // Before it is read: a change in between shows the next time.
    const identity = `${identityOf(certFile)} ${identityOf(keyFile)}`;
    const known = this.#known.get(key);
    const isKnown = known?.identity === identity;
    if (!isKnown) this.parsed++;
    const certificate = isKnown ? known.certificate : read();
    this.#used.set(key, { identity, certificate });
    return certificate;
  }

  /** Forgets what nobody asked for since it was called last. */
  sweep(): void {
    this.#known = this.#used;
    this.#used = new Map();
  }
}

/** Changes with the content, the place and the permissions of a file. */
function identityOf(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}

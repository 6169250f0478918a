import type { Certificate } from './certificate.ts';

/**
 * Picks by server name: the exact name before a wildcard, which stands for one label (RFC 6125 section 6.4.3), before
 * the default.
 */
export class CertificateChoice<T> {
  readonly #exact = new Map<string, T>();
  readonly #wildcard = new Map<string, T>();
  readonly default: T;

  /**
   * @param items at least one; of two for the same name the first one counts
   * @param defaultName name whose item is for everybody else; default: the first item
   */
  constructor(
    items: readonly { readonly names: readonly string[]; readonly item: T }[],
    defaultName: string | undefined,
  ) {
    for (const { names, item } of items)
      for (const name of names) {
        const [map, key] = name.startsWith('*.') ? [this.#wildcard, name.slice(2)] : [this.#exact, name];
        if (!map.has(key)) map.set(key, item);
      }
    const fallback = defaultName === undefined ? undefined : this.#named(defaultName);
    this.default = fallback ?? items[0]!.item;
  }

  /** @param serverName from the client, in any case */
  pick(serverName: string): T {
    return this.#named(serverName.toLowerCase()) ?? this.default;
  }

  #named(name: string): T | undefined {
    if (name.startsWith('*.')) return this.#wildcard.get(name.slice(2));
    return this.#exact.get(name) ?? this.#wildcard.get(name.slice(name.indexOf('.') + 1));
  }
}

/**
 * Puts certificates for the same names and different kinds of key (ECDSA and RSA) together: OpenSSL takes the one that
 * the client understands.
 */
export function sameNames<T extends Pick<Certificate, 'names' | 'keyType'>>(
  certificates: readonly T[],
): T[][] {
  const groups = new Map<string, T[]>();
  for (const certificate of certificates) {
    const key = certificate.names.toSorted().join(' ');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [certificate]);
    else if (!group.some(({ keyType }) => keyType === certificate.keyType)) group.push(certificate);
  }
  return [...groups.values()];
}

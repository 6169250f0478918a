import type { Certificate } from './certificate.ts';

/** Under it stands what everybody else gets: who asks for no name, or for one that no certificate has. */
export const EVERYBODY_ELSE = '';

type Named = Pick<Certificate, 'names' | 'keyType'>;

/**
 * Which certificates each name has: the first one of each kind of key (ECDSA, RSA), of which OpenSSL takes what the
 * client understands. So the name is chosen first, and then what the client can.
 *
 * @param certificates at least one
 * @param defaultName name whose certificates are for everybody else; default: the first one's
 * @returns by name, lower case, as it stands in the certificates (`*.` in front of a wildcard's); and `EVERYBODY_ELSE`
 */
export function certificatesByName<T extends Named>(
  certificates: readonly T[],
  defaultName: string | undefined,
): Map<string, readonly T[]> {
  const byName = new Map<string, T[]>();
  for (const certificate of certificates)
    for (const name of certificate.names) {
      const group = byName.get(name);
      if (group === undefined) byName.set(name, [certificate]);
      else if (!group.some(({ keyType }) => keyType === certificate.keyType)) group.push(certificate);
    }
  const first = certificates[0]!;
  const named = defaultName === undefined ? undefined : certificatesFor(byName, defaultName);
  const ofFirst = first.names.map((name) => byName.get(name)!).find((group) => group.includes(first));
  return new Map<string, readonly T[]>([...byName, [EVERYBODY_ELSE, named ?? ofFirst ?? [first]]]);
}

/**
 * The names under which a server name is looked for, in order: the exact one, then the wildcard, which stands for one label
 * (RFC 6125 section 6.4.3).
 *
 * @param serverName lower case
 */
export function namesOfServer(serverName: string): readonly [exact: string, wildcard: string] {
  return [serverName, `*.${serverName.slice(serverName.indexOf('.') + 1)}`];
}

function certificatesFor<T>(
  byName: ReadonlyMap<string, readonly T[]>,
  name: string,
): readonly T[] | undefined {
  const [exact, wildcard] = namesOfServer(name);
  return byName.get(exact) ?? byName.get(wildcard);
}

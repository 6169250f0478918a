import { isIP } from 'node:net';

/** What `/etc/resolv.conf` says, as far as lbd goes by it; see resolv.conf(5). */
export interface ResolvConf {
  /** IP addresses, 1 to 3; asked on port 53. */
  readonly servers: readonly string[];
  /** Domains that are put behind a short name, without dots at their ends. */
  readonly search: readonly string[];
  /** A name with so many dots is first asked for as it is. 0 to 15. */
  readonly ndots: number;
}

/** As the C library (MAXNS, RES_MAXNDOTS), and more search domains than it once knew. */
const MAX_SERVERS = 3;
const MAX_NDOTS = 15;
const MAX_SEARCH = 16;
/** RFC 1035 section 2.3.4, without the lengths of labels. */
const MAX_NAME = 253;

/**
 * Reads `/etc/resolv.conf`. What is not understood is left out, as the C library does.
 *
 * @param hostName of this machine; what is behind its first dot is the domain where the file names none
 */
export function parseResolvConf(text: string, hostName: string): ResolvConf {
  const servers: string[] = [];
  let search: string[] | undefined;
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [key, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (key === 'nameserver' && isIP(values[0] ?? '') !== 0) servers.push(values[0]!);
    // The last one of either counts.
    else if (key === 'search') search = domains(values);
    else if (key === 'domain') search = domains(values.slice(0, 1));
    else if (key === 'options') ndots = ndotsOf(values) ?? ndots;
  }
  return {
    servers: servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, MAX_SERVERS),
    search: search ?? domains([hostName.split('.').slice(1).join('.')]),
    ndots,
  };
}

function domains(words: readonly string[]): string[] {
  return words
    .map((word) => word.replace(/\.+$/, '').toLowerCase())
    .filter((word) => word !== '')
    .slice(0, MAX_SEARCH);
}

function ndotsOf(options: readonly string[]): number | undefined {
  const value = options.findLast((option) => /^ndots:\d+$/.test(option))?.slice(6);
  return value === undefined ? undefined : Math.min(Number(value), MAX_NDOTS);
}

/** The names to ask for, one after the other until one has an address: as `res_search` of the C library. */
export function candidatesOf(
  name: string,
  { search, ndots }: Pick<ResolvConf, 'search' | 'ndots'>,
): string[] {
  const longer = search.map((domain) => `${name}.${domain}`).filter(({ length }) => length <= MAX_NAME);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...longer] : [...longer, name];
}

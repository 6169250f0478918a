import { Resolver } from 'node:dns';
import { hostname } from 'node:os';
import { formatEndpoint } from '../../../common/address.ts';
import type { ResolverConfig } from '../../../common/model.ts';
import { FileCopy } from './file-copy.ts';
import { parseHosts } from './hosts-file.ts';
import type { Answer } from './name-life.ts';
import { candidatesOf, parseResolvConf } from './resolv-conf.ts';

/** Where the machine says how names are resolved; others only in tests. */
export interface ResolverFiles {
  readonly hosts: string;
  readonly resolvConf: string;
}

const FILES: ResolverFiles = { hosts: '/etc/hosts', resolvConf: '/etc/resolv.conf' };
/** Once there are addresses of one family, those of the other are waited for no longer: some servers never answer for it. */
const OTHER_FAMILY_MS = 250;

/** Addresses of one family; `code` of c-ares: why there are none. */
type Family =
  | { readonly records: readonly { readonly address: string; readonly ttl: number }[] }
  | { readonly code: string };

const UNANSWERED = 'ETIMEOUT';
/**
 * The next candidate is asked for. Not after SERVFAIL, unlike in the C library: a server that fails for a moment would send
 * clients to another host of the same short name.
 */
const GOES_ON: ReadonlySet<string> = new Set(['ENOTFOUND', 'ENODATA', 'EBADNAME']);
const WORDS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name is not known',
  ENODATA: 'the name has no address',
  ESERVFAIL: 'the name server cannot answer (SERVFAIL)',
  EREFUSED: 'the name server refuses to answer',
  ENOTIMP: 'the name server refuses to answer',
  EBADRESP: 'the name server answers with nonsense',
  EFORMERR: 'the name server answers with nonsense',
};

/**
 * Asks for addresses: in the file of hosts, then name servers, with the search domains of the machine. No thread waits for
 * an answer, and each question ends within its attempts and time-outs.
 */
export class Questions {
  readonly #config: ResolverConfig;
  readonly #hosts: FileCopy<ReturnType<typeof parseHosts>>;
  readonly #conf: FileCopy<ReturnType<typeof parseResolvConf>>;
  #resolver: Resolver | undefined;
  #servers = '';

  constructor(config: ResolverConfig, files: ResolverFiles = FILES) {
    this.#config = config;
    this.#hosts = new FileCopy(files.hosts, parseHosts);
    this.#conf = new FileCopy(files.resolvConf, (text) => parseResolvConf(text, hostname()));
  }

  /** Never rejects. */
  async ask(name: string): Promise<Answer> {
    const listed = this.#hosts.value.get(name.toLowerCase());
    // Looked at again as soon as may be: the file can change at any time.
    if (listed !== undefined) return { kind: 'found', addresses: listed, ttlMs: 0 };
    const resolver = this.#resolverNow();
    let failure = 'ENOTFOUND';
    for (const candidate of candidatesOf(name, this.#conf.value)) {
      const families = await askBoth(resolver, candidate);
      const records = families.flatMap((family) => ('records' in family ? family.records : []));
      if (records.length > 0) return found(records, families);
      const codes = families.flatMap((family) => ('code' in family ? [family.code] : []));
      const final = codes.find((code) => !GOES_ON.has(code));
      if (final !== undefined) return { kind: 'none', why: this.#why(final) };
      // Of several names, one that is there says most.
      if (codes.includes('ENODATA')) failure = 'ENODATA';
    }
    return { kind: 'none', why: this.#why(failure) };
  }

  /** Ends what is under way. */
  close(): void {
    this.#resolver?.cancel();
  }

  #resolverNow(): Resolver {
    const { servers, timeoutMs, attempts } = this.#config;
    const wanted =
      servers.length > 0
        ? servers.map(formatEndpoint)
        : this.#conf.value.servers.map((host) => formatEndpoint({ host, port: 53 }));
    if (this.#resolver === undefined || wanted.join() !== this.#servers) {
      this.#resolver = new Resolver({ timeout: timeoutMs, tries: attempts, maxTimeout: timeoutMs });
      this.#resolver.setServers(wanted);
      this.#servers = wanted.join();
    }
    return this.#resolver;
  }

  #why(code: string): string {
    return WORDS[code] ?? `no name server answers (${this.#servers.replaceAll(',', ', ')})`;
  }
}

/** Asks for addresses of both families. Never rejects. */
function askBoth(resolver: Resolver, name: string): Promise<readonly [four: Family, six: Family]> {
  return new Promise((resolve) => {
    let [four, six]: (Family | undefined)[] = [];
    let timer: NodeJS.Timeout | undefined;
    const settle = () => {
      clearTimeout(timer);
      resolve([four ?? { code: UNANSWERED }, six ?? { code: UNANSWERED }]);
    };
    const judge = () => {
      if (four !== undefined && six !== undefined) settle();
      else if ('records' in (four ?? six!)) timer = setTimeout(settle, OTHER_FAMILY_MS);
    };
    begin(
      (done) => resolver.resolve4(name, { ttl: true }, done),
      (family) => {
        four = family;
        judge();
      },
    );
    begin(
      (done) => resolver.resolve6(name, { ttl: true }, done),
      (family) => {
        six = family;
        judge();
      },
    );
  });
}

type Done = (error: NodeJS.ErrnoException | null, records: { address: string; ttl: number }[]) => void;

/** c-ares tells of a name that it cannot ask for at once, and then by an exception. */
function begin(ask: (done: Done) => void, take: (family: Family) => void): void {
  try {
    ask((error, records) => take(error === null ? { records } : { code: error.code ?? UNANSWERED }));
  } catch (error) {
    take({ code: (error as NodeJS.ErrnoException).code ?? UNANSWERED });
  }
}

function found(
  records: readonly { readonly address: string; readonly ttl: number }[],
  [four, six]: readonly [Family, Family],
): Answer {
  const isOpen = (family: Family) =>
    'code' in family && family.code !== 'ENODATA' && family.code !== 'ENOTFOUND';
  return {
    kind: 'found',
    addresses: records.map(({ address }) => address),
    ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1000,
    unanswered: isOpen(four) ? 4 : isOpen(six) ? 6 : undefined,
  };
}

import { canonicalIp, unmapped } from '../../common/address.ts';
import type { ForwardingConfig } from '../../common/forwarding-config.ts';
import type { RequestFacts } from '../route/facts.ts';

/** What of a request's own words about its client counts: nothing, `X-Forwarded-…`, or `Forwarded`. */
export type Believed = 'nothing' | 'x-forwarded' | 'forwarded';

export interface Client {
  readonly address: string;
  readonly scheme: 'http' | 'https';
}

/** Proxies that a request can have passed; what stands farther left than so many is not looked at. */
const MAX_HOPS = 64;

/** One pair of a `Forwarded` field and what parts it from the next one (RFC 7239 §4), or nothing before that. */
const PAIR = /(?:[\t ]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\t ;,"]*)))?[\t ]*([;,]|$)/y;

/** A frontend, as far as it says whom to believe. */
export interface Trust {
  readonly config: ForwardingConfig;
  /** Whether an address is that of a trusted proxy. */
  trusts(address: string): boolean;
}

/**
 * Whose request it is, and what of its own words about that counts.
 *
 * @param request that gives its fields as they were sent
 * @param peer who has the connection
 */
export function askedBy(
  request: Pick<RequestFacts, 'header'>,
  peer: Client,
  trust: Trust,
): { client: Client; believed: Believed } {
  if (!trust.trusts(peer.address)) return { client: peer, believed: 'nothing' };
  const believed = trust.config.clientField === 'Forwarded' ? 'forwarded' : 'x-forwarded';
  return { client: clientBehind(request, believed, peer, trust), believed };
}

/**
 * The client behind proxies that are trusted: from the right, the first hop that is none of them. A hop that is no IP
 * address (`unknown`, `_hidden`) ends the search: the proxy that said so is the farthest that is known.
 */
function clientBehind(
  request: Pick<RequestFacts, 'header'>,
  believed: 'x-forwarded' | 'forwarded',
  peer: Client,
  trust: Trust,
): Client {
  if (believed === 'forwarded') {
    const hops = forwardedHops(request.header('forwarded') ?? '').toReversed();
    const names = hops.map((hop) => hop.for ?? '');
    const { address, at } = farthest(names, peer.address, trust);
    return { address, scheme: schemeIn(hops[at]?.proto) ?? peer.scheme };
  }
  const hops = lastHops(request.header('x-forwarded-for') ?? '');
  return {
    address: farthest(hops, peer.address, trust).address,
    scheme: schemeIn(request.header('x-forwarded-proto')) ?? peer.scheme,
  };
}

/** @param hops nearest first. @returns the client, and which hop it is; -1: none of them */
function farthest(hops: readonly string[], peer: string, trust: Trust): { address: string; at: number } {
  let address = peer;
  for (const [at, hop] of hops.slice(0, MAX_HOPS).entries()) {
    const ip = hopAddress(hop);
    if (ip === undefined) return { address, at: at - 1 };
    address = ip;
    if (!trust.trusts(ip)) return { address, at };
  }
  return { address, at: Math.min(hops.length, MAX_HOPS) - 1 };
}

/** Hops of `X-Forwarded-For`, nearest first. */
function lastHops(value: string): string[] {
  const hops: string[] = [];
  for (let end = value.length; end > 0 && hops.length < MAX_HOPS; ) {
    const comma = value.lastIndexOf(',', end - 1);
    // RFC 9110 §5.6.1.2: empty elements of a list do not count.
    if (comma + 1 < end && value.slice(comma + 1, end).trim() !== '') hops.push(value.slice(comma + 1, end));
    end = comma;
  }
  return hops;
}

/**
 * Elements of `Forwarded`, farthest first: of a field that is not well formed, those behind the damage, which the nearest
 * proxies have put there. Who sends a lone quote would else be nobody.
 */
function forwardedHops(value: string): { for?: string; proto?: string }[] {
  let hops: Record<string, string>[] = [{}];
  for (let at = 0; at < value.length; at = PAIR.lastIndex) {
    PAIR.lastIndex = at;
    const found = PAIR.exec(value);
    if (found === null) {
      const comma = value.indexOf(',', at);
      hops = [{}];
      if (comma < 0) break;
      PAIR.lastIndex = comma + 1;
      continue;
    }
    const [, name, quoted, plain, separator] = found;
    const text = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain;
    if (name !== undefined && text !== undefined) hops.at(-1)![name.toLowerCase()] = text;
    if (separator === ',') hops.push({});
  }
  return hops.filter((hop) => Object.keys(hop).length > 0);
}

/** Of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`; undefined: none of these. */
function hopAddress(hop: string): string | undefined {
  const text = hop.trim();
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([\d.]+))(?::\d{1,5})?$/.exec(text) ?? [];
  const ip = canonicalIp(bracketed ?? plain ?? text);
  return ip && unmapped(ip);
}

function schemeIn(text: string | undefined): 'http' | 'https' | undefined {
  const scheme = text?.toLowerCase();
  return scheme === 'http' || scheme === 'https' ? scheme : undefined;
}

import { z } from 'zod';
import {
  canonicalIp,
  ipFamily,
  isHostName,
  isMulticast,
  isNetwork,
  isOneHost,
  isUnspecified,
  parseCidr,
  parseEndpoint,
} from './address.ts';
import { DURATION, formatDuration, formatSize, parseDuration, parseSize, SIZE } from './duration.ts';
import { messageOf } from './errors.ts';
import { RegexRefusal } from './regex/parser.ts';
import { RegexProgram, RegexTooLong } from './regex/program.ts';

/**
 * The kinds of value that `common/schema.ts` is made of.
 *
 * Convention: the error of a schema is the expectation alone ("a duration from 1s to 1m, such as 10s"); for a
 * mapping it is the list of its keys. `common/problems.ts` makes the sentence.
 */

/** Names of clusters, nodes, frontends, pools and backends: safe in URLs, labels, log lines and cookies. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** IFNAMSIZ is 16 with its closing NUL. Narrower than the kernel: nothing that means something to `ip -batch`. */
const INTERFACE = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}$/;
const MAX_PATTERN_LENGTH = 512;
/** More than anyone waits for, and below the 2^31 - 1 ms at which timers overflow. */
export const LONGEST_MS = 24 * 3_600_000;

/**
 * A mapping with these keys and no others.
 *
 * @param example for who writes something else in its place
 */
export function mapping<T extends z.core.$ZodLooseShape>(shape: T, example?: string) {
  const plain = `a mapping (key: value)${example === undefined ? '' : `, such as ${example}`}`;
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? Object.keys(shape).join(', ') : plain),
  });
}

/** Named things, such as pools. */
export function named<T extends z.ZodType>(value: T) {
  return z.record(name, value, { error: 'a mapping of names' });
}

export function text(pattern: RegExp, expected: string) {
  return z.string({ error: expected }).regex(pattern, { error: expected });
}

/** A text that `parse` turns into a value; undefined means that it is none. */
export function parsed<T>(expected: string, parse: (text: string) => T | undefined, pattern?: RegExp) {
  const plain = z.string({ error: expected });
  return (pattern === undefined ? plain : plain.regex(pattern, { error: expected })).transform(
    (input, ctx) => {
      const value = parse(input);
      if (value !== undefined) return value;
      ctx.issues.push({ code: 'custom', message: expected, input });
      return z.NEVER;
    },
  );
}

/** @param more what else the expectation says */
export function duration(minMs: number, maxMs: number, more = '') {
  const expected = `a duration from ${formatDuration(minMs)} to ${formatDuration(maxMs)}, such as 100ms, 10s or 5m${more}`;
  return parsed(expected, (input) => inRange(parseDuration(input), minMs, maxMs), DURATION);
}

export function size(min: number, max: number) {
  const expected = `a size from ${formatSize(min)} to ${formatSize(max)}, such as 64KiB`;
  return parsed(expected, (input) => inRange(parseSize(input), min, max), SIZE);
}

function inRange(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

export function integer(min: number, max: number) {
  const error = `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

export function oneOrMore<T extends z.ZodType>(item: T, expected: string) {
  return z
    .union([item.transform((value) => [value]), z.array(item).min(1, { error: expected })], {
      error: expected,
    })
    .transform((values) => values as z.output<T>[]);
}

export const name = text(
  NAME,
  'a name of 1 to 64 letters, digits, "_", "." or "-", starting with a letter or digit',
);
export const token = text(TOKEN, 'a name of letters, digits and - _ . (a token of RFC 9110)');
export const fieldName = token.transform((field) => field.toLowerCase());
export const iface = text(INTERFACE, 'the name of a network interface, such as eth1');
export const port = integer(1, 65535);
export const yesNo = z.boolean({ error: 'true or false' });
export const absolutePath = text(/^\/[^\0]{1,4095}$/, 'the absolute path of an executable');

const unicastIp = (input: string) => {
  const ip = canonicalIp(input);
  return ip === undefined || isMulticast(ip) || isUnspecified(ip) ? undefined : ip;
};

export const nodeAddress = parsed("the node's own IP address", unicastIp);

/** RFC 4291 section 2.7: scope 1 stays on the interface of its sender, scope 0 is reserved. */
const STAYS_ON_NODE = /^ff[0-9a-f][01]:/;
export const multicastGroup = parsed(
  'a multicast address, 224.0.0.0 to 239.255.255.255 or ff00::/8, such as "ff12::7470", and not ff01::, which stays on the node',
  (input) => {
    const ip = canonicalIp(input);
    return ip !== undefined && isMulticast(ip) && !STAYS_ON_NODE.test(ip) ? ip : undefined;
  },
);

export const vipAddress = parsed(
  'an IP address with its prefix length, such as 192.168.56.100/24',
  (input) => {
    const vip = parseCidr(input);
    return vip === undefined || isMulticast(vip.address) || isUnspecified(vip.address) ? undefined : vip;
  },
);

export const hostAddress = parsed('an IP address, such as 192.168.56.1', unicastIp);

export const routeTarget = parsed(
  'a network with its prefix length and no bits beyond it, such as 10.9.0.0/16',
  (input) => {
    const cidr = parseCidr(input);
    if (cidr === undefined || isMulticast(cidr.address) || !isNetwork(cidr.address, cidr.prefix))
      return undefined;
    return { to: `${cidr.address}/${cidr.prefix}`, family: cidr.family };
  },
);

/** Every port is a listening socket in each worker. */
const MAX_RANGE_PORTS = 1024;

/** One address and port, or `5000-5010`: one address and each port from `port` to `lastPort`. */
export interface BindRange {
  readonly host: string;
  readonly port: number;
  readonly lastPort: number;
}

export const bindAddress = parsed(
  'ADDRESS:PORT in quotes, such as "*:80", "192.0.2.1:80", "[::]:80" or "*:5000-5010" (at most 1024 ports)',
  (input): BindRange | undefined => {
    const [, start = '', last] = /^(.*:\d{1,5})(?:-(\d{1,5}))?$/.exec(input) ?? [];
    const bind = parseEndpoint(start);
    if (bind === undefined || (bind.host !== '*' && canonicalIp(bind.host) === undefined)) return undefined;
    const lastPort = last === undefined ? bind.port : Number(last);
    const ports = lastPort - bind.port + 1;
    return lastPort <= 65535 && ports >= 1 && ports <= MAX_RANGE_PORTS ? { ...bind, lastPort } : undefined;
  },
);

/** Addresses whose word is taken. One without a prefix length stands alone. */
export const network = parsed(
  'a network or an IP address, such as 10.0.0.0/8, 192.0.2.7 or fd00::/8',
  (input) => {
    const cidr = parseCidr(input);
    return cidr === undefined || !isNetwork(cidr.address, cidr.prefix) ? undefined : cidr;
  },
);

const MAX_PAYLOAD_BYTES = 1024;
/** What a datagram holds: a text, or any bytes as `hex:…`. */
export const payload = parsed(
  `a text, or bytes such as "hex:00ff", of 1 to ${MAX_PAYLOAD_BYTES} bytes`,
  (input) => {
    const hex = /^hex:((?:[0-9A-Fa-f]{2})+)$/.exec(input)?.[1];
    if (hex === undefined && input.startsWith('hex:')) return undefined;
    const bytes = hex === undefined ? Buffer.from(input, 'utf8') : Buffer.from(hex, 'hex');
    return bytes.length >= 1 && bytes.length <= MAX_PAYLOAD_BYTES ? bytes.toString('latin1') : undefined;
  },
);

export const metricsAddress = parsed('IP:PORT, such as 127.0.0.1:9600, or false', (input) => {
  const address = parseEndpoint(input);
  return address === undefined || canonicalIp(address.host) === undefined ? undefined : address;
});

const DNS_PORT = 53;
export const nameServer = parsed(
  'IP or IP:PORT of a name server, such as 10.0.0.53 or "[fd00::53]:53"',
  (input) => {
    const address = unicastIp(input) === undefined ? parseEndpoint(input) : { host: input, port: DNS_PORT };
    const host = unicastIp(address?.host ?? '');
    return address === undefined || host === undefined ? undefined : { host, port: address.port };
  },
);

export const leaseAddress = parsed('IP:PORT of a witness, such as "192.168.56.3:7473"', (input) => {
  const address = parseEndpoint(input);
  return address === undefined || unicastIp(address.host) === undefined ? undefined : address;
});

export const backendAddress = parsed('HOST:PORT, such as 10.0.0.21:9000 or [fd00::21]:9000', (input) => {
  const address = parseEndpoint(input);
  return address !== undefined && (isHostName(address.host) || isOneHost(address.host)) ? address : undefined;
});

export const regex = z.string({ error: 'a regular expression' }).transform((input, ctx) => {
  const refuse = (expected: string) => {
    ctx.issues.push({ code: 'custom', message: expected, input });
    return z.NEVER;
  };
  if (input.length === 0 || input.length > MAX_PATTERN_LENGTH)
    return refuse(`a regular expression of 1 to ${MAX_PATTERN_LENGTH} characters`);
  try {
    const regex = new RegExp(input);
    new RegexProgram(input);
    return regex;
  } catch (error) {
    const ours = error instanceof RegexRefusal || error instanceof RegexTooLong;
    return refuse(ours ? error.message : `a regular expression (${messageOf(error)})`);
  }
});

export const hostPattern = parsed(
  'a host name without a port, such as example.org or *.example.org',
  (input) => {
    const plain = input.startsWith('*.') ? input.slice(2) : input;
    return isHostName(plain) || canonicalIp(plain) !== undefined ? input.toLowerCase() : undefined;
  },
);

/** The host of a route, as a request names it: an IPv6 address has its brackets, and no name has the root's dot. */
export const requestHost = parsed(
  'a host name without a port, such as example.org or *.example.org',
  (input) => {
    const bracketed = /^\[(.*)\]$/.exec(input)?.[1];
    const ip = canonicalIp(bracketed ?? input);
    if (ip !== undefined && ipFamily(ip) === 6) return `[${ip}]`;
    if (bracketed !== undefined) return undefined;
    const plain = input.startsWith('*.') ? input.slice(2) : input;
    return isHostName(plain) || ip !== undefined ? input.toLowerCase().replace(/\.$/, '') : undefined;
  },
);

export const statusRange = z.union(
  [
    integer(100, 599).transform((status): readonly [number, number] => [status, status]),
    parsed('a range of status codes, such as 200-299', (input): readonly [number, number] | undefined => {
      const [, low, high] = /^([1-5]\d\d)-([1-5]\d\d)$/.exec(input) ?? [];
      return high === undefined || Number(low) > Number(high) ? undefined : [Number(low), Number(high)];
    }),
  ],
  { error: 'a status code such as 200, or a range such as 200-299' },
);

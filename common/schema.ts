import { z } from 'zod';
import { accessLog } from './access-log-config.ts';
import { engineKeys } from './engine-config.ts';
import {
  absolutePath,
  backendAddress,
  bindAddress,
  duration,
  fieldName,
  hostAddress,
  hostPattern,
  iface,
  integer,
  leaseAddress,
  mapping,
  metricsAddress,
  multicastGroup,
  name,
  named,
  network,
  nodeAddress,
  oneOrMore,
  payload,
  port,
  regex,
  routeTarget,
  size,
  statusRange,
  text,
  token,
  vipAddress,
  yesNo,
} from './fields.ts';
import { ALGORITHMS, MODES, type TextMatch } from './model.ts';
import { resilience } from './resilience-config.ts';
import { frontendTls, hsts, poolTls, redirect, sni } from './tls-config.ts';

/**
 * The schema of the config file: what may be written where, its defaults, its ranges. It turns texts into
 * numbers and canonical addresses; what depends on two places at once is in `common/checks.ts`.
 */

/** More than anyone waits for, and below the 2^31 - 1 ms at which timers overflow. */
const LONGEST_MS = 24 * 3_600_000;

const multicastPath = mapping({
  type: z.literal('multicast'),
  group: multicastGroup.prefault('239.255.84.1'),
  port: port.default(7470),
  interface: iface.optional(),
});
const unicastPath = mapping({ type: z.literal('unicast'), port: port.default(7471) });

const vips = z
  .array(
    mapping(
      {
        address: vipAddress,
        interface: iface.optional(),
        prefix_route: yesNo.default(true),
        provider: z.enum(['interface', 'lo', 'exec']).default('interface'),
        command: z
          .array(z.string({ error: 'a text' }).max(4095, { error: 'a text' }), {
            error: 'a list: an executable and its arguments',
          })
          .min(1, { error: 'an executable' })
          .max(64, { error: 'at most 64 arguments' })
          .optional(),
      },
      '{ address: 192.168.56.100/24, interface: eth1 }',
    ),
    { error: 'a list of { address, interface }' },
  )
  .min(1, { error: 'at least one virtual address' })
  .max(64, { error: 'at most 64 virtual addresses' });

const routes = z
  .array(
    mapping({
      to: routeTarget,
      via: hostAddress.optional(),
      interface: iface,
      src: hostAddress.optional(),
      table: integer(1, 4_294_967_295).optional(),
    }),
    { error: 'a list of { to, via, interface }' },
  )
  .max(64, { error: 'at most 64 routes' });

const priority = named(integer(1, 254));
const preempt = z.union([z.literal(false), mapping({ delay: duration(0, 3_600_000) })], {
  error: 'false or { delay: 30s }',
});

const witnessAddresses = z
  .array(hostAddress, { error: 'a list of IP addresses' })
  .min(1, { error: 'at least one address' })
  .max(8, { error: 'at most 8 addresses' });
const witness = z.union(
  [
    witnessAddresses.transform((addresses) => ({
      addresses,
      lease: undefined,
      interval: 1000,
      timeout: 500,
    })),
    mapping({
      addresses: witnessAddresses.optional(),
      lease: leaseAddress.optional(),
      interval: duration(100, 3_600_000).prefault('1s'),
      timeout: duration(10, 60_000).prefault('500ms'),
    }),
  ],
  { error: 'a list of IP addresses, or { addresses: […], interval: 1s, timeout: 500ms, lease: IP:PORT }' },
);
const ha = mapping({
  heartbeat: mapping({
    interval: duration(10, 60_000).prefault('100ms'),
    dead_after: integer(2, 100).default(3),
  }).prefault({}),
  paths: z
    .array(z.discriminatedUnion('type', [multicastPath, unicastPath], { error: 'multicast or unicast' }), {
      error: 'a list of paths',
    })
    .min(1, { error: 'at least one path' })
    .max(16, { error: 'at most 16 paths' })
    .prefault([{ type: 'multicast' }, { type: 'unicast' }]),
  /** Either these, or `groups`. */
  vips: vips.optional(),
  priority: priority.prefault({}),
  preempt: preempt.default(false),
  routes: routes.default([]),
  groups: named(
    mapping({
      vips,
      priority: priority.prefault({}),
      /** Default: that of `ha`. */
      preempt: preempt.optional(),
      routes: routes.default([]),
    }),
  ).optional(),
  garp: mapping({
    count: integer(1, 100).default(5),
    refresh: duration(1000, LONGEST_MS).prefault('60s'),
  }).prefault({}),
  track: mapping({
    lbd: yesNo.default(true),
    interfaces: z.array(iface, { error: 'a list of interface names' }).optional(),
  }).prefault({}),
  /** How long a link may be up before the network carries frames, as with spanning tree. */
  settle: duration(0, 600_000, '; 0s turns it off').prefault('30s'),
  /** Who must answer a node that does not hear its peer. */
  witness: witness.optional(),
  notify: mapping({
    active: absolutePath.optional(),
    standby: absolutePath.optional(),
    fault: absolutePath.optional(),
  }).prefault({}),
});

/** The worker threads keep a head in one read buffer of 64 KiB. */
const MAX_HEAD_BYTES = 64 * 1024;

const TEXT_EXPECTED = 'a text (exact), { exact: … }, { prefix: … }, { regex: … } or true (present)';
const PATH_EXPECTED = 'a path that starts with "/" (prefix), { prefix: /… }, { exact: /… } or { regex: … }';
const pathText = text(/^\//, 'a path that starts with "/"');
function textMatch(plain: z.ZodString, expected: string) {
  return mapping({ exact: plain.optional(), prefix: plain.optional(), regex: regex.optional() }).transform(
    (input, ctx): TextMatch => {
      if (Object.keys(input).length === 1) {
        if (input.exact !== undefined) return { exact: input.exact };
        if (input.prefix !== undefined) return { prefix: input.prefix };
        if (input.regex !== undefined) return { regex: input.regex };
      }
      ctx.issues.push({ code: 'custom', message: expected, input });
      return z.NEVER;
    },
  );
}

const pathMatch = z.union(
  [pathText.transform((prefix): TextMatch => ({ prefix })), textMatch(pathText, PATH_EXPECTED)],
  { error: PATH_EXPECTED },
);
const plainText = z.string({ error: 'a text' });
const valueMatch = z.union(
  [
    plainText.transform((exact): TextMatch => ({ exact })),
    z.literal(true).transform((present): TextMatch => ({ present })),
    textMatch(plainText, TEXT_EXPECTED),
  ],
  { error: TEXT_EXPECTED },
);
const match = mapping({
  host: oneOrMore(hostPattern, 'a host name or a list of them').optional(),
  /** `tls: passthrough` only. */
  sni: sni.optional(),
  path: pathMatch.optional(),
  method: oneOrMore(
    token.transform((method) => method.toUpperCase()),
    'a method or a list of them',
  ).optional(),
  header: z.record(token, valueMatch, { error: 'a mapping of field names' }).optional(),
  cookie: z.record(token, valueMatch, { error: 'a mapping of cookie names' }).optional(),
  query: z.record(z.string().min(1), valueMatch, { error: 'a mapping of parameter names' }).optional(),
}).refine((conditions) => Object.keys(conditions).length > 0, {
  error: 'at least one of host, path, method, header, cookie, query, sni',
});

const frontend = mapping({
  bind: oneOrMore(bindAddress, 'a list of ADDRESS:PORT, such as ["*:80"]'),
  mode: z.enum(MODES).default('http'),
  ...engineKeys,
  routes: z.array(mapping({ match, pool: name }), { error: 'a list of { match, pool }' }).default([]),
  pool: name.optional(),
  tls: frontendTls.optional(),
  hsts: hsts.optional(),
  /** Where no route matches, in the place of `pool`. */
  redirect: redirect.optional(),
  /** Default: that of the top level. */
  access_log: accessLog.optional(),
  max_connections: integer(1, 1_000_000).default(50_000),
  accept_proxy: oneOrMore(network, 'a list of networks, such as [10.0.0.0/8]').optional(),
  timeouts: mapping({
    head: duration(100, LONGEST_MS).prefault('10s'),
    body: duration(100, LONGEST_MS).prefault('30s'),
    keep_alive: duration(100, LONGEST_MS).prefault('75s'),
    /** Default: 5 m, in mode udp 2 m. */
    idle: duration(100, LONGEST_MS).optional(),
  }).prefault({}),
  limits: mapping({
    head: size(1024, MAX_HEAD_BYTES).prefault('16KiB'),
    fields: integer(1, 1000).default(100),
    per_source: integer(1, 1_000_000).optional(),
  }).prefault({}),
});

const health = mapping(
  {
    type: z.enum(['tcp', 'http', 'deep', 'udp', 'none']).default('tcp'),
    interval: duration(100, 3_600_000).prefault('10s'),
    /** Default: 5 s, or the interval where that is shorter. */
    timeout: duration(10, 3_600_000).optional(),
    fall: integer(1, 100).default(3),
    rise: integer(1, 100).default(2),
    path: text(/^\/[\x21-\x7e]{0,2047}$/, 'a path that starts with "/", ASCII without spaces').default('/'),
    method: token.transform((method) => method.toUpperCase()).prefault('GET'),
    host: text(/^[\x21-\x7e]{1,255}$/, 'the value of the Host field').optional(),
    expect: oneOrMore(
      statusRange,
      'a status code such as 200, a range such as 200-299, or a list of them',
    ).optional(),
    /** Default: as the pool. */
    tls: yesNo.optional(),
    port: port.optional(),
    /** udp: what is asked, and what the answer must contain; default: any answer will do. */
    send: payload.optional(),
    receive: payload.optional(),
  },
  '{ type: http, path: /healthz }',
);

const stick = mapping({
  cookie: token.optional(),
  learn: yesNo.optional(),
  source: z.literal('ip', { error: 'ip' }).optional(),
  prefix6: integer(1, 128).optional(),
  expire: duration(1000, LONGEST_MS).optional(),
});

const LOAD_FACTOR = '0 (off) or a number from 1.01 to 10';
const hash = mapping({
  key: z
    .union(
      [
        z.enum(['source', 'path']).transform((from) => ({ from })),
        mapping({ header: fieldName }).transform(({ header }) => ({ from: 'header' as const, name: header })),
        mapping({ cookie: token }).transform(({ cookie }) => ({ from: 'cookie' as const, name: cookie })),
      ],
      { error: 'source, path, { header: NAME } or { cookie: NAME }' },
    )
    .prefault('source'),
  load_factor: z
    .union([z.literal(0), z.number().min(1.01, { error: LOAD_FACTOR }).max(10, { error: LOAD_FACTOR })], {
      error: LOAD_FACTOR,
    })
    .default(1.25),
});

const pool = mapping({
  algorithm: z.enum(ALGORITHMS).default('round-robin'),
  hash: hash.prefault({}),
  stick: stick.optional(),
  health: health.prefault({}),
  tls: poolTls.optional(),
  drain_timeout: duration(0, LONGEST_MS).prefault('30s'),
  timeouts: mapping({
    connect: duration(10, LONGEST_MS).prefault('5s'),
    response: duration(10, LONGEST_MS).prefault('60s'),
    /** Default: that of `response`. */
    idle: duration(10, LONGEST_MS).optional(),
    total: duration(0, LONGEST_MS).prefault('0s'),
    keep_alive: duration(10, LONGEST_MS).prefault('60s'),
  }).prefault({}),
  ...resilience,
  send_proxy: z.enum(['v1', 'v2']).optional(),
  queue: mapping({
    length: integer(0, 100_000).default(256),
    timeout: duration(10, LONGEST_MS).prefault('5s'),
  }).prefault({}),
  backends: named(
    mapping({
      address: backendAddress,
      weight: integer(0, 256).default(1),
      max_connections: integer(1, 1_000_000).optional(),
    }),
  ),
});

const cluster = mapping({
  name,
  secret_file: z
    .string({ error: 'the path of a file' })
    .min(1, { error: 'the path of a file' })
    .default('secret'),
  previous_secret_file: z
    .string({ error: 'the path of a file' })
    .min(1, { error: 'the path of a file' })
    .optional(),
  nodes: named(mapping({ address: nodeAddress })),
});

/** Schema of the whole file. */
export const schema = mapping({
  cluster: cluster.optional(),
  ha: ha.optional(),
  sync: mapping({
    port: port.default(7472),
    flow_marks: integer(0, 4_294_967_295).default(0),
  }).prefault({}),
  sessions: mapping({ capacity: integer(1024, 16 * 1024 * 1024).default(1024 * 1024) }).prefault({}),
  workers: z
    .union([z.literal('auto'), integer(1, 64)], { error: 'auto or a whole number from 1 to 64' })
    .default('auto'),
  frontends: named(frontend),
  pools: named(pool),
  /** Of all frontends without one of their own. */
  access_log: accessLog.optional(),
  admin: mapping({
    metrics: z
      .union([z.literal(false), metricsAddress], { error: 'IP:PORT, such as 127.0.0.1:9600, or false' })
      .prefault('127.0.0.1:9600'),
  }).prefault({}),
});

/** The file's content with defaults and units applied, still in the file's shape and words. */
export type Shape = z.output<typeof schema>;

/** JSON Schema (draft 2020-12) of the config file, for editors. */
export function jsonSchema(): object {
  return {
    title: 'Tandem configuration',
    ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }),
  };
}

import { z } from 'zod';
import { accessLog } from './access-log-config.ts';
import { engineKeys } from './engine-config.ts';
import {
  bindAddress,
  duration,
  integer,
  LONGEST_MS,
  mapping,
  name,
  network,
  oneOrMore,
  size,
} from './fields.ts';
import { forwardingKeys } from './forwarding-config.ts';
import { match } from './match-schema.ts';
import { MODES } from './model.ts';
import { frontendTls, hsts, redirect } from './tls-config.ts';

/** The worker threads keep a head in one read buffer of 64 KiB. */
const MAX_HEAD_BYTES = 64 * 1024;

/** More than any client reaches. */
const MAX_RATE = 1024 ** 3;

/** `frontends.X` */
export const frontend = mapping({
  bind: oneOrMore(bindAddress, 'a list of ADDRESS:PORT, such as ["*:80"]').meta({
    description:
      'Where clients come: addresses and ports, or ranges of at most 1024 ports, in quotes. `*` is every address of the node, IPv4 and IPv6, VIPs as well; a switchover keeps open connections only there.',
    'x-example': '["*:80", "192.0.2.1:8000-8010"]',
  }),
  mode: z
    .enum(MODES)
    .default('http')
    .describe('What is balanced: requests of HTTP/1.1, TCP connections, or flows of datagrams.'),
  ...engineKeys,
  routes: z
    .array(
      mapping({
        match: match.describe('Conditions; all that are there must hold.'),
        pool: name.describe('Name of the pool that gets what matches.'),
      }),
      { error: 'a list of { match, pool }' },
    )
    .prefault([])
    .meta({
      description:
        'Rules that pick the pool of a request; the first that matches counts. Mode http, and mode tcp with `tls: passthrough`.',
      'x-example': '[{ match: { path: /api/, method: [GET, POST] }, pool: api }]',
    }),
  pool: name.optional().meta({
    description: 'Name of the pool where no route matches.',
    'x-default': 'none: what no route matches gets a 404, with `tls: passthrough` a TLS alert',
  }),
  tls: frontendTls.optional().meta({
    description:
      'TLS with clients, modes http and tcp. `passthrough`, mode tcp only: the name in the ClientHello picks the route (`match: { sni }`), and nothing is decrypted.',
    'x-default': 'none',
    'x-example': '{ certificates: [{ cert: shop.crt, key: shop.key }] }',
  }),
  protocols: z
    .array(z.enum(['h2', 'http/1.1'], { error: 'h2 or http/1.1' }), { error: 'a list of h2 and http/1.1' })
    .min(1, { error: 'h2, http/1.1 or both' })
    .max(2, { error: 'h2, http/1.1 or both' })
    .optional()
    .meta({
      description:
        'What clients may speak, most wanted first: with `tls` it is offered by ALPN, in the clear a client of `h2` begins with it (prior knowledge); `Upgrade: h2c` is not known. Mode http.',
      'x-default': '`[http/1.1]`; with `tls`: `[h2, http/1.1]`',
      'x-example': '[h2, http/1.1]',
    }),
  hsts: hsts.optional().meta({
    description:
      'Tells browsers to come by HTTPS only (Strict-Transport-Security, RFC 6797) for so long. Mode http with `tls`. A text is `max_age` alone.',
    'x-default': 'not sent',
    'x-example': '1y',
  }),
  redirect: redirect.optional().meta({
    description:
      'In the place of `pool`: what no route matches is sent to HTTPS at the same host. Mode http without `tls`.',
    'x-default': 'none',
    'x-example': 'https',
  }),
  access_log: accessLog.optional().meta({
    description: 'Access log of this frontend; `false`: none.',
    'x-default': 'the top-level `access_log`',
    'x-example': 'false',
  }),
  max_connections: integer(1, 1_000_000)
    .default(50_000)
    .describe(
      'Open clients (udp: flows) at the same time, over all workers. One more gets a 503 (http), a reset (tcp, TLS) or takes the place of a flow that may be forged (udp).',
    ),
  accept_proxy: oneOrMore(network, 'a list of networks, such as [10.0.0.0/8]').optional().meta({
    description:
      'Peers whose connections must begin with a PROXY protocol header, version 1 or 2, which tells the client; without one they are reset. From all others no header is believed. Modes http and tcp.',
    'x-default': 'none',
    'x-example': '[10.0.0.0/8]',
  }),
  ...forwardingKeys,
  timeouts: mapping({
    head: duration(100, LONGEST_MS)
      .prefault('10s')
      .describe(
        'From the first byte of a request to the end of its head; also for a TLS handshake, a ClientHello that is waited for, and a PROXY header. Mode http, and mode tcp with `tls`.',
      ),
    body: duration(100, LONGEST_MS)
      .prefault('30s')
      .describe(
        'Mode http: longest pause between two pieces of the body of a request; in each time as long, the body must come as fast as `limits.min_rate`.',
      ),
    keep_alive: duration(100, LONGEST_MS)
      .prefault('75s')
      .describe('Mode http: so long a client may keep its connection between two requests.'),
    idle: duration(100, LONGEST_MS).optional().meta({
      description:
        'TCP connections, and upgraded ones such as WebSocket: no byte in either direction; also for a client that does not read its answer. udp: no datagram; a flow that has not gone on after an answer ends after 30s at the latest.',
      'x-default': '`5m`; mode udp: `2m`',
    }),
  })
    .prefault({})
    .describe('How long clients are waited for.'),
  limits: mapping({
    head: size(1024, MAX_HEAD_BYTES)
      .prefault('16KiB')
      .describe('Mode http: bytes of the head of a request (more: 431) or of an answer (more: 502).'),
    fields: integer(1, 1000)
      .default(100)
      .describe('Mode http: fields in the head of a request (more: 431) or of an answer (more: 502).'),
    min_rate: size(0, MAX_RATE)
      .prefault('240B')
      .describe(
        'Mode http: bytes a second that a client must send of the body of a request (less: 408), measured over each `timeouts.body`, and read of an answer (less: reset), over each `timeouts.idle`. Only time counts in which lbd waits for the client. 0B: any.',
      ),
    per_source: integer(1, 1_000_000).optional().meta({
      description:
        'Connections or flows of one client at the same time, over all workers: of an IPv4 address or an IPv6 /64; behind `trusted_proxies` its requests. One more gets a 429 (http), a reset (tcp, TLS), or is dropped (udp).',
      'x-default': 'any number',
    }),
  })
    .prefault({})
    .describe('What one client may ask for.'),
});

import { z } from 'zod';
import {
  backendAddress,
  duration,
  fieldName,
  integer,
  LONGEST_MS,
  mapping,
  named,
  oneOrMore,
  payload,
  port,
  statusRange,
  text,
  token,
  yesNo,
} from './fields.ts';
import { ALGORITHMS } from './model.ts';
import { resilience } from './resilience-config.ts';
import { stick } from './stick-config.ts';
import { poolTls } from './tls-config.ts';

const health = mapping(
  {
    type: z
      .enum(['tcp', 'http', 'deep', 'udp', 'none'])
      .default('tcp')
      .describe(
        'What is checked. `tcp`: a connection (and TLS) comes about. `http`: the status of an answer. `deep`: also its JSON body, with a `status`, a map `checks`, or both; what fails is named. `udp`: a datagram is answered. `none`: nothing, backends count as healthy. A pool of mode udp must say it.',
      ),
    interval: duration(100, 3_600_000)
      .prefault('10s')
      .describe('Time between two checks of a backend, give or take a tenth. Both nodes check.'),
    timeout: duration(10, 3_600_000).optional().meta({
      description: 'How long a check may take; not above `interval`.',
      'x-default': '`5s`, or `interval` where that is shorter',
    }),
    fall: integer(1, 100)
      .default(3)
      .describe(
        'After so many failures in a row a healthy backend is down. The first check of all decides alone.',
      ),
    rise: integer(1, 100)
      .default(2)
      .describe('After so many successes in a row one that is down is healthy.'),
    path: text(/^\/[\x21-\x7e]{0,2047}$/, 'a path that starts with "/", ASCII without spaces')
      .default('/')
      .describe('Types http and deep: the path, with its query, that is asked for.'),
    method: token
      .transform((method) => method.toUpperCase())
      .prefault('GET')
      .describe('Types http and deep: the method.'),
    host: text(/^[\x21-\x7e]{1,255}$/, 'the value of the Host field')
      .optional()
      .meta({
        description: 'Types http and deep: the Host field.',
        'x-default': 'address and port of the backend',
      }),
    expect: oneOrMore(statusRange, 'a status code such as 200, a range such as 200-299, or a list of them')
      .optional()
      .meta({
        description: 'Types http and deep: statuses of a healthy backend.',
        'x-default': '`200-399`; type deep: `200-299`',
        'x-example': '[200, 300-399]',
      }),
    drain_status: oneOrMore(statusRange, 'a status code such as 404, a range, or a list of them')
      .optional()
      .meta({
        description:
          'Types http and deep: statuses by which a backend asks to be drained: it is healthy, gets no new clients, and stuck ones may still come until `drain_timeout` is over. Goes before `expect`.',
        'x-default': 'none: no answer asks for a drain',
        'x-example': '404',
      }),
    tls: yesNo.optional().meta({
      description: '`false`: checks go in the clear although the pool has `tls`.',
      'x-default': 'as the pool',
    }),
    port: port.optional().meta({
      description: 'Port that is checked. Where it is said, checks send no PROXY header.',
      'x-default': 'that of the backend',
    }),
    send: payload.optional().meta({
      description: 'Type udp: the datagram; it is sent up to three times within `timeout`.',
      'x-default': 'required for type udp',
      'x-example': '"hex:00ff"',
    }),
    receive: payload.optional().meta({
      description: 'Type udp: what the answer must contain.',
      'x-default': 'any answer will do',
    }),
  },
  '{ type: http, path: /healthz }',
);

const LOAD_FACTOR = '0 (off) or a number from 1.01 to 10';
const hash = mapping({
  key: z
    .union(
      [
        z.enum(['source', 'path']).transform((from) => ({ from })),
        mapping({
          header: fieldName.describe('A field of the request; those without it are one key.'),
        }).transform(({ header }) => ({ from: 'header' as const, name: header })),
        mapping({
          cookie: token.describe('A cookie of the request; those without it are one key.'),
        }).transform(({ cookie }) => ({ from: 'cookie' as const, name: cookie })),
      ],
      { error: 'source, path, { header: NAME } or { cookie: NAME }' },
    )
    .prefault('source')
    .meta({
      description:
        'What is hashed: the address of the client, or in mode http the path without the query, a field or a cookie.',
      'x-example': '{ header: X-Tenant }',
    }),
  load_factor: z
    .union([z.literal(0), z.number().min(1.01, { error: LOAD_FACTOR }).max(10, { error: LOAD_FACTOR })], {
      error: LOAD_FACTOR,
    })
    .default(1.25)
    .describe(
      'No backend gets more than so many times its share of what is in flight; the rest goes to others. 0: no bound.',
    ),
});

/** `pools.X` */
export const pool = mapping({
  algorithm: z
    .enum(ALGORITHMS)
    .default('round-robin')
    .describe(
      'Who gets a client that is not stuck. `round-robin` and `least-connections` go by turns and by what is in flight, whatever the weights; `weighted-…`, `random` and `least-response-time` (latency times what is in flight) go by weights as well. `ip-hash`: a client has its backend, as long as that is there. `consistent-hash`: the same by `hash`, with bounded loads.',
    ),
  protocol: z
    .enum(['http/1.1', 'h2', 'auto'])
    .default('http/1.1')
    .describe(
      'Mode http: what the backends are spoken to in. `h2`: HTTP/2, with `tls` by ALPN, else by prior knowledge; a backend that does not speak it counts as one that cannot be connected to. `auto`: with `tls` what the backend chooses by ALPN; without, HTTP/1.1. By HTTP/2, requests of all clients share connections. Checks of type http and deep are made by HTTP/2 to backends of `h2`, unless `health.port` is set, else by HTTP/1.1.',
    ),
  hash: hash
    .prefault({})
    .meta({ description: 'For `consistent-hash` only.', 'x-example': '{ key: { header: X-Tenant } }' }),
  stick: stick.optional().meta({
    description: 'Sends a client back to the backend that it had, before the algorithm is asked.',
    'x-default': 'none',
    'x-example': '{ source: ip, expire: 30m }',
  }),
  health: health
    .prefault({})
    .meta({ description: 'Health checks.', 'x-example': '{ type: http, path: /healthz, interval: 2s }' }),
  tls: poolTls.optional().meta({
    description: 'TLS to the backends, and for their checks.',
    'x-default': 'none',
    'x-example': '{ ca: authority.crt, server_name: app.internal }',
  }),
  drain_timeout: duration(0, LONGEST_MS)
    .prefault('30s')
    .describe(
      'How long a backend that is drained goes on with stuck clients and what is open; then it is cut. The same for what a reload takes out. The longest one of all pools also bounds how long connections finish after a switchover.',
    ),
  timeouts: mapping({
    connect: duration(10, LONGEST_MS)
      .prefault('5s')
      .describe('Modes http and tcp: until a connection to a backend is there, TLS with it.'),
    response: duration(10, LONGEST_MS)
      .prefault('60s')
      .describe('Mode http: one try, from the end of the request to the head of its answer.'),
    idle: duration(10, LONGEST_MS).optional().meta({
      description: 'Mode http: longest pause between two pieces of the body of an answer.',
      'x-default': 'that of `response`',
    }),
    total: duration(0, LONGEST_MS)
      .prefault('0s')
      .describe(
        'Mode http: a whole request with all its tries, from its head to the end of its answer. Ends with an upgrade. 0s: no limit.',
      ),
    keep_alive: duration(10, LONGEST_MS)
      .prefault('60s')
      .describe('Mode http: how long a connection to a backend is kept that nobody uses.'),
  })
    .prefault({})
    .describe('How long backends are waited for.'),
  connections: mapping({
    max_age: duration(100, LONGEST_MS).optional().meta({
      description:
        'Mode http: how old a connection to a backend may become. At that age it is closed when its request is over; so a name that leads elsewhere, or a balancer behind this one, is heeded.',
      'x-default': 'any age',
      'x-example': '10m',
    }),
    streams: integer(1, 1000).optional().meta({
      description:
        'By HTTP/2 (`protocol`): requests at a time on one connection to a backend, which may ask for fewer. With more, another connection is made.',
      'x-default': '32',
      'x-example': '100',
    }),
  })
    .prefault({})
    .describe('Connections that are kept to the backends.'),
  ...resilience,
  send_proxy: z.enum(['v1', 'v2']).optional().meta({
    description:
      'Version of the PROXY protocol header with which each connection to a backend begins, and which tells it the client. In mode http a connection then serves one client only; behind `trusted_proxies` each change of the client costs a new one. Modes http and tcp.',
    'x-default': 'none is sent',
  }),
  queue: mapping({
    length: integer(0, 100_000)
      .default(256)
      .describe(
        'So many clients wait at the same time, over all workers; one more is refused. 0: nobody waits.',
      ),
    timeout: duration(10, LONGEST_MS).prefault('5s').describe('How long a client waits; then it is refused.'),
  })
    .prefault({})
    .describe(
      'Who waits where all backends that a client may have are at their `max_connections`. Refused: 503 (http), reset (tcp). Modes http and tcp.',
    ),
  backends: named(
    mapping({
      address: backendAddress.meta({
        description: 'IP address or host name, and port.',
        'x-example': '10.0.0.21:9000',
      }),
      weight: integer(0, 256)
        .default(1)
        .describe(
          'Share of the clients beside the other weights, for algorithms that go by weights. 0, for all: no new clients except stuck ones.',
        ),
      max_connections: integer(1, 1_000_000).optional().meta({
        description:
          'Requests (http), connections (tcp) or flows (udp) at the same time, over all workers. What is more waits in `queue`.',
        'x-default': 'any number',
      }),
    }),
  ).meta({
    description: 'The servers, by name; at most 4096 over all pools.',
    'x-example': '{ s1: { address: 10.0.0.21:9000 }, s2: { address: 10.0.0.22:9000, weight: 3 } }',
  }),
});

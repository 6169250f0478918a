import { z } from 'zod';
import { accessLog } from './access-log-config.ts';
import { integer, mapping, metricsAddress, name, named, nodeAddress, port, yesNo } from './fields.ts';
import { frontend } from './frontend-schema.ts';
import { ha } from './ha-schema.ts';
import { pool } from './pool-schema.ts';
import { resolver } from './resolver-config.ts';

/**
 * The schema of the config file: what may be written where, its defaults, its ranges, and what it means to who operates it
 * (see `common/json-schema.ts`). It turns texts into numbers and canonical addresses; what depends on two places at once is
 * in `common/checks.ts`.
 */

const secretPath = z.string({ error: 'the path of a file' }).min(1, { error: 'the path of a file' });

const cluster = mapping({
  name: name.meta({
    description: 'Name of the pair. Keys derive from it and the secret.',
    'x-restart': 'both daemons',
    'x-example': 'shop',
  }),
  secret_file: secretPath
    .default('secret')
    .describe(
      'File with the secret of the pair, relative to this one: 32 to 4096 random bytes, the same on both nodes, closed to others. Where root has derived keys from it (`lbctl derive-keys`), the daemons read those.',
    ),
  previous_secret_file: secretPath.optional().meta({
    description: 'While the secret is replaced: the one from before, which is accepted as well.',
    'x-default': 'none',
  }),
  nodes: named(
    mapping({
      address: nodeAddress.meta({
        description:
          'IP address of the node itself, on which the other one reaches it. Both have the same IP version.',
        'x-restart': 'both daemons',
        'x-example': '192.168.56.11',
      }),
    }),
  ).meta({
    description:
      'The two nodes by name. A node knows itself by its host name, in full or up to the first dot, or by `--node`.',
    'x-restart': 'both daemons',
    'x-example': '{ lb1: { address: 192.168.56.11 }, lb2: { address: 192.168.56.12 } }',
  }),
});

/** Schema of the whole file. */
export const schema = mapping({
  cluster: cluster.optional().meta({
    description: 'The pair. Needs `ha` beside it.',
    'x-default': 'none: `lbd` runs alone, as a single load balancer',
    'x-restart': 'both daemons',
  }),
  ha: ha.optional().meta({
    description: 'Which node has the virtual addresses, and how the nodes know of each other.',
    'x-default': 'none; required with `cluster`',
  }),
  sync: mapping({
    port: port.default(7472).meta({
      description: 'TCP port on the address of each node, the same on both.',
      'x-restart': 'lbd',
    }),
    flow_marks: integer(0, 4_294_967_295)
      .default(0)
      .describe('Bits of connection marks that travel with the flows of the kernel engine.'),
  })
    .prefault({})
    .describe('Session sync: sessions, flows and what operators set, between the two lbd (TLS-PSK).'),
  sessions: mapping({
    capacity: integer(1024, 16 * 1024 * 1024)
      .default(1024 * 1024)
      .meta({
        description:
          'Entries of the session table, rounded up to a power of two; less than 64 bytes of memory each. Where it is full, old entries make room.',
        'x-restart': 'lbd',
      }),
  })
    .prefault({})
    .describe('Which client has which backend, where a pool has `stick` with `source` or `learn`.'),
  workers: z
    .union([z.literal('auto'), integer(1, 64)], { error: 'auto or a whole number from 1 to 64' })
    .default('auto')
    .meta({
      description: 'Threads that move the bytes. `auto`: one for each core that lbd may use, 64 at most.',
      'x-restart': 'lbd',
    }),
  direct_io: yesNo.default(true).meta({
    description:
      'Whether workers read and write busy plain connections by system calls of their own (`io_uring` where the kernel has it). `false`: Node does all of it; slower, nothing else. The `io_uring` that the event loop of Node has for itself stays.',
    'x-restart': 'lbd',
  }),
  frontends: named(frontend).describe('Where clients come, by name; 1 to 512.'),
  pools: named(pool).describe('Sets of backends, by name.'),
  resolver: resolver.optional().meta({
    description:
      'How host names of backends are resolved: lbd asks on its own, `/etc/hosts` first, with the search domains of `/etc/resolv.conf`, and again as the TTL of the records says.',
    'x-default': 'by the name servers of `/etc/resolv.conf`',
    'x-example': '{ servers: [10.0.0.53], max_ttl: 30s }',
  }),
  access_log: accessLog.optional().meta({
    description:
      'Access log of all frontends without one of their own. A request, or a connection, is one line at its end.',
    'x-default': 'none',
    'x-example': '{ path: /var/log/tandem/access.log }',
  }),
  admin: mapping({
    metrics: z
      .union([z.literal(false), metricsAddress], { error: 'IP:PORT, such as 127.0.0.1:9600, or false' })
      .prefault('127.0.0.1:9600')
      .describe('Where `GET /metrics` is answered, for Prometheus; `false`: nowhere.'),
  })
    .prefault({})
    .describe('What lbd offers to who watches it.'),
});

/** The file's content with defaults and units applied, still in the file's shape and words. */
export type Shape = z.output<typeof schema>;

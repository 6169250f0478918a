import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { faultsOf, importsOf, ROOMS, readSources } from '../../scripts/rooms.ts';

t.test('an import in the wrong direction is told with its file and the rule', async (t) => {
  const sources = new Map([
    ['lbd/io/listener.ts', "import { Pool } from '../dispatch/pool.ts';\n"],
    ['lbd/dispatch/pool.ts', "import { Listener } from '../io/listener.ts';\n"],
    ['common/model.ts', "import type { Plan } from '../lbd/shared/plan.ts';\n"],
    ['lbd/control/health/probe.ts', "import { dial } from '../../io/raw-socket.ts';\n"],
    [
      'ha-agent/run.ts',
      "import { run } from '../lbd/run.ts';\nimport { messageOf } from '../common/errors.ts';\n",
    ],
  ]);
  t.strictSame(faultsOf(sources), [
    'lbd/io/listener.ts imports lbd/dispatch/pool.ts: lbd/io/ may import common',
    'common/model.ts imports lbd/shared/plan.ts: common/ may import nothing',
    'lbd/control/health/probe.ts imports lbd/io/raw-socket.ts: lbd/control/ may import common, lbd/flow, lbd/kernel, lbd/log, lbd/session, lbd/shared, lbd/tls',
    'ha-agent/run.ts imports lbd/run.ts: ha-agent/ may import common',
  ]);
});

t.test('a folder that is no room is told, and so is an import of one', async (t) => {
  const sources = new Map([
    ['lbd/dns/zone.ts', ''],
    ['lbd/plane/data-plane.ts', "import { Zone } from '../dns/zone.ts';\n"],
  ]);
  t.match(faultsOf(sources), [
    /^lbd\/dns\/zone.ts: its folder is no room/,
    /imports lbd\/dns\/zone.ts: lbd\/plane\//,
  ]);
});

t.test('every way to import counts', async (t) => {
  const text = `import net from 'node:net';
import './a.ts';
import type { B } from './b.ts';
import {
  c,
  type D,
} from '../c.ts';
export { e } from './e.ts';
export * from './f.ts';
const text = "import { x } from './x.ts'";
const g = await import('./g.ts');
import pkg from '../package.json' with { type: 'json' };
`;
  t.strictSame(importsOf('lbd/io/ring.ts', text), [
    ...['lbd/io/a.ts', 'lbd/io/b.ts', 'lbd/c.ts', 'lbd/io/e.ts', 'lbd/io/f.ts', 'lbd/io/g.ts'],
  ]);
});

t.test('a room stands above all that it imports', async (t) => {
  const below = new Set<string>();
  for (const [room, may] of Object.entries(ROOMS)) {
    t.strictSame(
      may.filter((other) => !below.has(other)),
      [],
      room,
    );
    below.add(room);
  }
});

t.test('the sources keep to it', async (t) => {
  const sources = readSources();
  t.ok(sources.size > 300, 'sources were found');
  t.strictSame(faultsOf(sources), []);
});

t.test('the architecture page says of each room of lbd what the rule says', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');
  const table = [...page.matchAll(/^\| `([a-z0-9/]+)` \| .+ \| (.+) \|$/gm)].map(([, room, may = '']) => [
    `lbd/${room}`,
    ['common', ...[...may.matchAll(/`([a-z0-9/]+)`/g)].map(([, other]) => `lbd/${other}`)],
  ]);
  const rooms = Object.entries(ROOMS).filter(([room]) => room.startsWith('lbd/'));
  t.strictSame(new Map(table as [string, string[]][]), new Map(rooms));
});

import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { CAPABILITY, effectiveCapabilities, hasCapability } from '../../common/capabilities.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, writeConfig } from './lbd-process.ts';

const skip = !hasCapability(CAPABILITY.netAdmin) && 'needs capabilities that can be dropped';

t.test('an lbd with many capabilities has workers that may listen and no more', { skip }, async (t) => {
  const dir = tempDir(t);
  const config = [
    'workers: 2',
    'sessions: { capacity: 1024 }',
    'admin: { metrics: false }',
    `frontends: { f: { bind: ["127.0.0.1:${await freePort()}"], mode: tcp, pool: p, engine: user } }`,
    'pools: { p: { health: { type: none }, backends: { a: { address: "127.0.0.1:9" } } } }',
  ];
  const lbd = new LbdProcess(t, dir, ['--config', writeConfig(dir, config)]);
  await lbd.logged(/^ready: 2 workers/);
  const tasks = `/proc/${lbd.child.pid}/task`;
  const workers = readdirSync(tasks).filter((id) =>
    readFileSync(`${tasks}/${id}/comm`, 'latin1').startsWith('worker '),
  );
  t.equal(workers.length, 2);
  const listens = 1n << BigInt(CAPABILITY.netBindService);
  for (const id of workers)
    t.equal(effectiveCapabilities(readFileSync(`${tasks}/${id}/status`, 'latin1')) & ~listens, 0n);
  t.strictSame((await lbd.status()).warnings, []);
});

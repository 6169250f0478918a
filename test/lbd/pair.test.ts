import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { LbdStatus, SessionRow } from '../../common/control.ts';
import { until } from '../../scripts/lab/wait.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, origin, pairLines } from './lbd-process.ts';

interface Sessions {
  readonly entries: number;
  readonly rows: readonly SessionRow[];
}

/** Asks until the answer is as wanted: what one node does reaches the other within milliseconds. */
function eventually<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean): Promise<T> {
  return until(`${wanted}`, async () => {
    const answer = await ask();
    if (wanted(answer)) return answer;
    throw new Error(JSON.stringify(answer));
  });
}

t.test('two lbd keep sessions, admin states and weights in step', async (t) => {
  const dir = tempDir(t);
  const a = await origin(t, (_req, res) => res.end('a'));
  const b = await origin(t, (_req, res) => res.end('b'));
  const syncPort = await freePort('127.0.0.2');
  writeFileSync(join(dir, 'secret'), randomBytes(32), { mode: 0o600 });
  const start = async (node: string, address: string) => {
    const port = await freePort(address);
    const file = join(dir, `${node}.yaml`);
    const lines = [
      ...pairLines(syncPort),
      `frontends: { web: { bind: ["${address}:${port}"], mode: http, pool: web } }`,
      'pools:',
      '  web:',
      '    stick: { source: ip, expire: 30m }',
      '    health: { type: tcp, interval: 1s }',
      `    backends: { s1: { address: "127.0.0.1:${a}" }, s2: { address: "127.0.0.1:${b}" } }`,
    ];
    writeFileSync(file, lines.join('\n'));
    const lbd = new LbdProcess(t, dir, ['--config', file, '--node', node], join(dir, node));
    await lbd.logged(/^ready/);
    const get = async () => (await fetch(`http://${address}:${port}/`)).text();
    return { lbd, get };
  };
  const [one, two] = await Promise.all([start('lb1', '127.0.0.1'), start('lb2', '127.0.0.2')]);
  const synced = (status: LbdStatus) => status.sync.state === 'synced';
  t.match(await eventually(() => one.lbd.status(), synced), { node: 'lb1', sync: { why: '' } });
  await eventually(() => two.lbd.status(), synced);

  const hit = await one.get();
  const sessions = () => two.lbd.call('GET', '/v1/sessions?limit=10') as Promise<Sessions>;
  const { rows } = await eventually(sessions, (answer) => answer.entries === 1);
  t.match(rows, [{ pool: 'web', kind: 'source', key: '127.0.0.1', backend: hit === 'a' ? 's1' : 's2' }]);

  await one.lbd.call('POST', '/v1/backends/web/s1', { admin: 'maint' });
  await one.lbd.call('POST', '/v1/backends/web/s2', { weight: 7 });
  const backends = (status: LbdStatus) => status.pools.web!.backends;
  const there = await eventually(
    () => two.lbd.status(),
    (status) => backends(status).s1!.state === 'maint' && backends(status).s2!.weight === 7,
  );
  t.match(backends(there), { s1: { admin: 'maint' }, s2: { state: 'ready' } });
  t.equal(await two.get(), 'b');

  one.lbd.child.kill('SIGKILL');
  await one.lbd.exited;
  t.match(
    await eventually(
      () => two.lbd.status(),
      (status) => !synced(status),
    ),
    { sync: { state: 'connecting', why: /lb1/ } },
  );
  const again = await start('lb1', '127.0.0.1');
  await eventually(() => again.lbd.status(), synced);
  const learnt = await eventually(
    () => again.lbd.status(),
    (status) => backends(status).s1!.state === 'maint',
  );
  t.match(backends(learnt), { s2: { weight: 7 } }, 'a node that comes back learns what was decided');

  two.lbd.child.kill('SIGTERM');
  t.same(await two.lbd.exited, { code: 0, signal: null });
});

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../../../scripts/lab/wait.ts';
import { freeDatagramPort, freePort } from '../../common/free-port.ts';
import { tempDir } from '../../common/temp-dir.ts';
import { LbdProcess, pairLines } from '../lbd-process.ts';
import { Client, Origin } from './udp-peers.ts';

const backendsOf = (origins: readonly Origin[]) =>
  origins.map(({ port }, i) => `s${i + 1}: { address: "127.0.0.1:${port}" }`).join(', ');

t.test('two workers: a client stays with one of them, also through a reload', async (t) => {
  const dir = tempDir(t);
  const origins = await Promise.all(['a', 'b'].map((name) => Origin.start(t, name)));
  const port = await freeDatagramPort('127.0.0.1');
  const file = join(dir, 'tandem.yaml');
  const write = (algorithm: string) =>
    writeFileSync(
      file,
      [
        'workers: 2',
        'admin: { metrics: false }',
        `frontends: { dns: { bind: ["127.0.0.1:${port}"], mode: udp, pool: dns } }`,
        `pools: { dns: { algorithm: ${algorithm}, health: { type: udp, send: "?" }, backends: { ${backendsOf(origins)} } } }`,
      ].join('\n'),
    );
  write('round-robin');
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  const clients = await Promise.all(Array.from({ length: 12 }, () => Client.open(t, port)));
  const names = [];
  for (const client of clients) names.push((await client.ask('1'))[0]);
  for (const [i, client] of clients.entries()) t.equal(await client.ask('2'), `${names[i]} 2`);
  write('random');
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^reload: .* in force/);
  for (const [i, client] of clients.entries()) t.equal(await client.ask('3'), `${names[i]} 3`);
  const socketsOf = (question: string) =>
    origins
      .flatMap(({ heard }) => heard.filter(({ text }) => text === question).map(({ from }) => from))
      .toSorted();
  t.strictSame(socketsOf('3'), socketsOf('1'), 'each flow kept its socket');
  t.match(await lbd.status(), {
    frontends: {
      dns: { mode: 'udp', connections: 12, accepted: 12, refused: {}, datagrams: { received: 36, sent: 36 } },
    },
    pools: { dns: { backends: { s1: { health: 'healthy', why: /^answered with/ } } } },
  });
  lbd.child.kill('SIGTERM');
  t.same(await lbd.exited, { code: 0, signal: null });
});

t.test('a pair: on the other node a client has the backend that it had', async (t) => {
  const dir = tempDir(t);
  const origins = await Promise.all(['a', 'b', 'c'].map((name) => Origin.start(t, name)));
  const syncPort = await freePort('127.0.0.2');
  writeFileSync(join(dir, 'secret'), randomBytes(32), { mode: 0o600 });
  const start = async (node: string, address: string) => {
    const port = await freeDatagramPort(address);
    const file = join(dir, `${node}.yaml`);
    const lines = [
      ...pairLines(syncPort),
      `frontends: { dns: { bind: ["${address}:${port}"], mode: udp, pool: dns } }`,
      `pools: { dns: { stick: { source: ip }, health: { type: none }, backends: { ${backendsOf(origins)} } } }`,
    ];
    writeFileSync(file, lines.join('\n'));
    const lbd = new LbdProcess(t, dir, ['--config', file, '--node', node], join(dir, node));
    await lbd.logged(/^ready/);
    return { lbd, port, address };
  };
  const [one, two] = await Promise.all([start('lb1', '127.0.0.1'), start('lb2', '127.0.0.2')]);
  const sources = ['127.0.0.11', '127.0.0.12', '127.0.0.13', '127.0.0.14', '127.0.0.15'];
  const names = [];
  for (const source of sources)
    names.push((await (await Client.open(t, one.port, one.address, source)).ask('1'))[0]);
  await until('the other node has all sessions', async () => {
    const { sync } = await two.lbd.status();
    return sync.state === 'synced' && sync.entries === sources.length;
  });
  one.lbd.child.kill('SIGKILL');
  await one.lbd.exited;
  for (const [i, source] of sources.entries())
    t.equal(
      (await (await Client.open(t, two.port, two.address, source)).ask('2'))[0],
      names[i],
      `${source} has ${names[i]}`,
    );
});

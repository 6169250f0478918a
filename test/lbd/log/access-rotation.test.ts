import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../../../scripts/lab/wait.ts';
import { freePort } from '../../common/free-port.ts';
import { tempDir } from '../../common/temp-dir.ts';
import { LbdProcess, origin, writeConfig } from '../lbd-process.ts';

function ask(port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode!));
    }).on('error', reject);
  });
}

const targets = (path: string) =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).target as string);

t.test('two workers, one file; SIGUSR2 after a rotation; a reload; a stop: no line is lost', async (t) => {
  const dir = tempDir(t);
  const [port, backend] = [await freePort(), await origin(t, (_, response) => response.end('ok'))];
  const log = join(dir, 'access.log');
  const config = (path: string) => [
    'workers: 2',
    'admin: { metrics: false }',
    `access_log: { path: ${path} }`,
    `frontends: { web: { bind: ["127.0.0.1:${port}"], pool: web } }`,
    `pools: { web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${backend}" } } } }`,
  ];
  const lbd = new LbdProcess(t, dir, ['--config', writeConfig(dir, config(log))]);
  await lbd.logged(/^ready/);
  const asked = Array.from({ length: 20 }, (_, n) => `/one/${n}`);
  for (const path of asked) t.equal(await ask(port, path), 200);
  await until('all lines', () => readFileSync(log, 'utf8').split('\n').length > 20);
  t.strictSame(targets(log).toSorted(), asked.toSorted());

  renameSync(log, `${log}.1`);
  lbd.child.kill('SIGUSR2');
  await until('a new file', () => existsSync(log));
  await ask(port, '/two');
  await until('a line', () => readFileSync(log, 'utf8') !== '');
  t.strictSame(targets(log), ['/two']);
  t.equal(targets(`${log}.1`).length, 20);

  const other = join(dir, 'other.log');
  writeFileSync(join(dir, 'tandem.yaml'), `${config(other).join('\n')}\n`);
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^reload: .* is in force/);
  await ask(port, '/three');
  lbd.child.kill('SIGTERM');
  t.match(await lbd.exited, { code: 0 });
  t.strictSame(targets(other), ['/three'], 'written at the stop, at the latest');
  t.strictSame(targets(log), ['/two']);
  t.equal(await lbd.stderr, '');
});

t.test('a directory that lbd may not write: it serves all the same, and the status says so', async (t) => {
  const dir = tempDir(t);
  const [port, backend] = [await freePort(), await origin(t, (_, response) => response.end('ok'))];
  const lines = [
    'workers: 1',
    'admin: { metrics: false }',
    `access_log: { path: ${join(dir, 'none', 'access.log')} }`,
    `frontends: { web: { bind: ["127.0.0.1:${port}"], pool: web } }`,
    `pools: { web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${backend}" } } } }`,
  ];
  const lbd = new LbdProcess(t, dir, ['--config', writeConfig(dir, lines)]);
  await lbd.logged(/^ready/);
  t.equal(await ask(port, '/'), 200);
  let { warnings } = await lbd.status();
  while (warnings.length === 0) ({ warnings } = await lbd.status());
  t.match(warnings, [/^access log: cannot open .*ENOENT.*; \d+ lines? lost$/]);
});

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { until } from '../../../scripts/lab/wait.ts';
import { freePort } from '../../common/free-port.ts';
import { tempDir } from '../../common/temp-dir.ts';
import { LbdProcess, origin, writeConfig } from '../lbd-process.ts';

/** A backend whose health is as it is told, and whose other answers wait. */
async function patient(t: Test) {
  const it = { port: 0, status: 200, waiting: [] as ServerResponse[] };
  it.port = await origin(t, (req, res) => {
    if (req.url === '/health') res.writeHead(it.status).end();
    else it.waiting.push(res.writeHead(200));
  });
  return it;
}

/** Takes connections and says nothing, so that a check of it lasts until its time-out. */
async function silent(t: Test) {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, asked: once(server, 'connection') };
}

function config(port: number, backends: Record<string, number>, timeout = '900ms'): string[] {
  return [
    'workers: 1',
    'sessions: { capacity: 1024 }',
    'admin: { metrics: false }',
    `frontends: { web: { bind: ["127.0.0.1:${port}"], mode: http, pool: web } }`,
    'pools:',
    '  web:',
    `    health: { type: http, path: /health, interval: 1s, timeout: ${timeout}, fall: 1 }`,
    '    backends:',
    ...Object.entries(backends).map(([name, at]) => `      ${name}: { address: "127.0.0.1:${at}" }`),
  ];
}

t.test('what serves while a reload waits for the checks of what is new is checked and shown', async (t) => {
  const dir = tempDir(t);
  const [one, two, three] = [await patient(t), await patient(t), await patient(t)];
  const slow = await silent(t);
  const port = await freePort();
  const file = writeConfig(dir, config(port, { s1: one.port, s2: two.port, s3: three.port }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  writeConfig(dir, [
    ...config(port, { s1: slow.port, s3: three.port }),
    '  slow:',
    '    health: { type: http, path: /health, interval: 1h, timeout: 1m }',
    `    backends: { s1: { address: "127.0.0.1:${slow.port}" } }`,
  ]);
  lbd.child.kill('SIGHUP');
  await slow.asked;
  two.status = 500;
  t.match(await lbd.logged(/^web\/s2: ready → down|^reload: /), /^web\/s2/, 'one that the reload takes out');
  one.status = 500;
  t.match(await lbd.logged(/^web\/s1: ready → down|^reload: /), /^web\/s1/, 'one that it moves');
  const { pools } = await lbd.status();
  t.match(pools.web!.backends, {
    s1: { state: 'down', address: `127.0.0.1:${one.port}`, why: 'status 500, expected 200–399' },
    s2: { state: 'down' },
    s3: { state: 'ready' },
  });
  await lbd.logged(/^reload: .* is in force/);
  const now = (await lbd.status()).pools.web!.backends;
  t.strictSame(Object.keys(now), ['s1', 's3']);
  t.match(now.s1, { state: 'down', address: `127.0.0.1:${slow.port}`, why: /no answer|timed out|timeout/ });
});

t.test('a backend that a reload has taken out is checked as long as something of it is open', async (t) => {
  const dir = tempDir(t);
  const [one, two] = [await patient(t), await patient(t)];
  const port = await freePort();
  const file = writeConfig(dir, config(port, { s1: one.port }));
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready/);
  const answer = fetch(`http://127.0.0.1:${port}/`);
  await until('the request to come', () => one.waiting.length > 0);
  writeConfig(dir, config(port, { s2: two.port }));
  lbd.child.kill('SIGHUP');
  await lbd.logged(/^reload: .* is in force/);
  t.match((await lbd.status()).leaving, [{ name: 'backend web/s1', health: 'healthy', why: 'status 200' }]);
  one.status = 500;
  await lbd.logged(/^backend web\/s1, which is leaving, is unhealthy: status 500, expected 200–399$/);
  t.match((await lbd.status()).leaving, [
    { name: 'backend web/s1', health: 'unhealthy', why: 'status 500, expected 200–399' },
  ]);
  one.status = 200;
  await lbd.logged(/^backend web\/s1, which is leaving, is healthy: status 200$/);
  one.waiting[0]!.end('late');
  t.equal(await (await answer).text(), 'late');
  await lbd.logged(/^backend web\/s1: nothing is open any more/);
  t.strictSame((await lbd.status()).leaving, []);
});

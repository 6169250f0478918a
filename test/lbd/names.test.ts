import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { BackendStatus } from '../../common/control.ts';
import { until } from '../../scripts/lab/wait.ts';
import { DnsServer } from '../common/dns-server.ts';
import { freePort } from '../common/free-port.ts';
import { tempDir } from '../common/temp-dir.ts';
import { LbdProcess, writeConfig } from './lbd-process.ts';

/** An HTTP server that answers with its address. @param onCheck called at each health check @returns its port */
async function originAt(t: Test, host: string, port = 0, onCheck = () => {}): Promise<number> {
  const server = createServer((request, response) => {
    if (request.headers['user-agent'] === 'tandem-health') onCheck();
    response.end(host);
  }).listen(port, host);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

interface Asked {
  readonly lbd: LbdProcess;
  /** Status and text of an answer. */
  get(): Promise<string>;
  backend(name: string, pool?: string): Promise<BackendStatus>;
}

/** An lbd whose frontend leads to pool `web`. */
async function serve(t: Test, dns: DnsServer, pools: readonly string[]): Promise<Asked> {
  const [dir, port] = [tempDir(t), await freePort()];
  const file = writeConfig(dir, [
    'workers: 1',
    'sessions: { capacity: 1024 }',
    'admin: { metrics: false }',
    `resolver: { servers: ["${dns.address}"], timeout: 500ms }`,
    'frontends:',
    `  web: { bind: ["127.0.0.1:${port}"], pool: web }`,
    'pools:',
    ...pools,
  ]);
  const lbd = new LbdProcess(t, dir, ['--config', file]);
  await lbd.logged(/^ready: 1 worker,/);
  return {
    lbd,
    get: async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      return `${answer.status} ${await answer.text()}`;
    },
    backend: async (name, pool = 'web') => (await lbd.status()).pools[pool]!.backends[name]!,
  };
}

/** A slow machine must not be taken for a backend that fails. */
const CHECKS = 'health: { type: http, interval: 2s, timeout: 2s, fall: 3, rise: 1 }';

t.test('names that never get an answer leave another pool alone', async (t) => {
  const dns = await DnsServer.start(t);
  const port = await originAt(t, '127.0.0.1');
  dns.set('web.test', ['127.0.0.1']);
  for (const name of ['a.test', 'b.test', 'c.test']) dns.names.set(name, 'silence');
  const { get, backend } = await serve(t, dns, [
    `  web: { ${CHECKS}, backends: { s1: { address: "web.test:${port}" } } }`,
    '  dead:',
    '    health: { type: http, interval: 1s }',
    '    backends: { a: { address: "a.test:80" }, b: { address: "b.test:80" }, c: { address: "c.test:80" } }',
  ]);
  await until('the name without an answer is down with its cause', async () =>
    /name server/.test((await backend('a', 'dead')).why),
  );
  for (let i = 0; i < 20; i++) t.equal(await get(), '200 127.0.0.1');
  t.match(await backend('a', 'dead'), { state: 'down' });
  t.match(await backend('s1'), { state: 'ready', checks: [{ ok: true }] });
});

t.test(
  'a backend stays in when the name server dies, and its status says how old its address is',
  async (t) => {
    const dns = await DnsServer.start(t);
    let checks = 0;
    const port = await originAt(t, '127.0.0.1', 0, () => checks++);
    dns.set('web.test', ['127.0.0.1']);
    const { lbd, get, backend } = await serve(t, dns, [
      `  web: { ${CHECKS}, backends: { s1: { address: "web.test:${port}" } } }`,
    ]);
    t.equal(await get(), '200 127.0.0.1');
    dns.dead = true;
    await until('it is told', async () => (await lbd.status()).warnings.length > 0);
    const before = checks;
    await until('more checks than `fall` have come since', () => checks >= before + 4);
    t.match((await lbd.status()).warnings, [/^host name web\.test: .*no name server answers.* old/]);
    for (let i = 0; i < 5; i++) t.equal(await get(), '200 127.0.0.1');
    t.match(await backend('s1'), {
      state: 'ready',
      resolved: { addresses: ['127.0.0.1'], trouble: /no name server answers/ },
    });
    dns.dead = false;
    await until('the name server is back', async () => (await lbd.status()).warnings.length === 0);
    t.equal((await backend('s1')).resolved?.trouble, undefined);
  },
);

t.test('a record that changes moves requests, also those of connections that are kept alive', async (t) => {
  const dns = await DnsServer.start(t);
  const port = await originAt(t, '127.0.0.1');
  await originAt(t, '127.0.0.2', port);
  dns.set('web.test', ['127.0.0.1']);
  const { get, backend } = await serve(t, dns, [
    `  web: { ${CHECKS}, backends: { s1: { address: "web.test:${port}" } } }`,
  ]);
  t.equal(await get(), '200 127.0.0.1');
  dns.set('web.test', ['127.0.0.2']);
  await until('traffic follows the record', async () => (await get()) === '200 127.0.0.2', 10_000);
  for (let i = 0; i < 5; i++) t.equal(await get(), '200 127.0.0.2');
  t.match(await backend('s1'), { state: 'ready', resolved: { addresses: ['127.0.0.2'] } });
});

t.test('all addresses of a name get clients, and those that fail their checks get none', async (t) => {
  const dns = await DnsServer.start(t);
  const port = await originAt(t, '127.0.0.1');
  await originAt(t, '127.0.0.2', port);
  dns.set('web.test', ['127.0.0.1', '127.0.0.2', '127.0.0.3']);
  const { get, backend } = await serve(t, dns, [
    `  web: { ${CHECKS}, backends: { s1: { address: "web.test:${port}" } } }`,
  ]);
  await until('both are known to be well', async () => {
    const status = await backend('s1');
    return status.resolved?.usable.join() === '127.0.0.1,127.0.0.2' ? status : undefined;
  });
  const seen = new Set<string>();
  for (let i = 0; i < 20; i++) seen.add(await get());
  t.strictSame([...seen].toSorted(), ['200 127.0.0.1', '200 127.0.0.2']);
  t.match(await backend('s1'), {
    state: 'ready',
    why: /1 of 3 addresses fails: 127\.0\.0\.3: connection refused/,
    resolved: { addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3'] },
  });
});

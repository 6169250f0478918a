import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { Listener } from '../../../lbd/io/listener.ts';
import { parseCertificate } from '../../../lbd/tls/certificate.ts';
import { writeBook } from '../../../lbd/tls/certificate-book.ts';
import type { FrontendMaterial } from '../../../lbd/tls/material.ts';
import { Terminator } from '../../../lbd/tls/terminator.ts';
import { TlsControl } from '../../../lbd/tls/tls-control.ts';
import { freePort } from '../../common/free-port.ts';
import { settled } from '../../common/settled.ts';
import { RawClient } from '../harness.ts';
import { LbdProcess, origin, writeConfig } from '../lbd-process.ts';
import { certify, type Identity } from './authority.ts';
import { Certificates, SecureClient } from './secure-client.ts';

const MANY = 10_000;
/** So many made a worker silent for longer than the watchdog waits, when all were read at once. */
const SOME = 2_300;
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** A directory `certs` with one certificate a file for `n0.example` and so on. @returns how to write one again */
function writeMany(files: Certificates, count: number): (i: number) => Identity {
  const directory = join(files.directory, 'certs');
  mkdirSync(directory);
  const write = (i: number) => {
    const identity = certify({ name: `n${i}`, alternatives: [`n${i}.example`], issuer: files.root });
    const file = join(directory, `n${i}.pem`);
    writeFileSync(`${file}.new`, identity.cert + identity.key);
    renameSync(`${file}.new`, file);
    return identity;
  };
  for (let i = 0; i < count; i++) write(i);
  return write;
}

const fingerprintOf = ({ cert }: Identity) => new X509Certificate(cert).fingerprint256;

/** A control whose material goes nowhere. */
function controlOf(t: Test, told: string[] = []) {
  const tls = new TlsControl({
    ticketSecrets: () => [Buffer.alloc(32, 1)],
    tell: (_, text) => told.push(text),
    onChange: async () => [],
  });
  t.teardown(() => tls.close());
  return tls;
}

const configOf = (files: Certificates, tls: string) =>
  parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:443"], pool: web, tls: { ${tls} } } }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }
`,
    join(files.directory, 'tandem.yaml'),
    { cpus: 1 },
  );

t.test('of ten thousand certificates a worker reads those that clients ask for, and no other', async (t) => {
  const real = ['a', 'b'].map((name) => {
    const { cert, key } = certify({ name, alternatives: [`${name}.example`] });
    return parseCertificate(cert, key, name, name);
  });
  const material = (count: number): FrontendMaterial => {
    // What cannot be read would be noticed.
    const garbage = Array.from({ length: count }, (_, i) => ({
      ...real[0]!,
      id: `garbage${i}`.padEnd(22, '-'),
      names: [`n${i}.example`],
      cert: 'garbage',
    }));
    const certificates = writeBook([...real, ...garbage], undefined);
    const rest = { clientCa: undefined, sessionContext: 'x', policy: 'p' };
    return { certificates, ticketKeys: [Buffer.alloc(48, 1)], ...rest, version: String(count) };
  };
  const tls = { mode: 'terminate', minVersion: '1.2', alpn: [], client: undefined } as const;
  const failed: string[] = [];
  const terminator = new Terminator(
    'v',
    { ...tls, certificates: 'certs', defaultName: undefined },
    material(MANY),
    10_000,
    {
      done: () => {},
      failed: (cause) => failed.push(cause),
      serve: (socket) => {
        socket.end();
        return { onBytes: () => {} };
      },
    },
  );
  const port = await freePort();
  const listener = await Listener.open(
    { host: '127.0.0.1', port },
    (socket) => terminator.take(socket, undefined),
    () => {},
  );
  t.teardown(() => listener.close());
  const shown = async (servername: string) => {
    const client = await SecureClient.open(t, port, { servername });
    return client.socket.getPeerCertificate().subject.CN;
  };
  t.equal(await shown('b.example'), 'b');
  t.equal(await shown('other.example'), 'a');
  await t.rejects(shown('n9999.example'));
  t.match(failed, [/^its certificate cannot be used: /]);
  terminator.renew(material(MANY + 1));
  t.equal(await shown('b.example'), 'b');
  await t.rejects(shown(`n${MANY}.example`), 'also the one that is new');
  t.equal(failed.length, 2);
});

t.test('what was prepared and not taken changes nothing', async (t) => {
  const files = new Certificates(t);
  const tls = controlOf(t);
  const [one, other] = ['a', 'b'].map((name) =>
    configOf(files, `certificates: [${files.server(name, [`${name}.example`]).files}]`),
  );
  tls.take(await tls.prepare(one!));
  t.equal(
    (await tls.prepare(configOf(files, 'certificates: none'))).problems.length,
    1,
    'the old one would stay',
  );
  const { material } = tls;
  const refused = await tls.prepare(other!);
  t.match(refused.read.frontends.web!.shown, [{ names: ['b.example'] }]);
  t.equal(tls.material, material);
  tls.ticketsChanged();
  t.equal(tls.material.frontends.web!.version, material.frontends.web!.version, 'nor later');
  t.match(tls.certificates('web'), [{ names: ['a.example'] }]);
  await t.rejects(controlOf(t).prepare(configOf(files, 'certificates: none')), {
    code: 'TLS',
    message: /none: no such directory/,
  });
  await tls.check(one!);
  await t.rejects(tls.check(configOf(files, 'certificates: none')), { code: 'TLS' });
  t.match(tls.certificates('web'), [{ names: ['a.example'] }]);
});

t.test('a certificate is renewed while a reload waits for its backends: both come into force', async (t) => {
  const files = new Certificates(t);
  const shop = files.server('shop');
  const backend = await origin(t, (_, response) => response.end('ok'));
  // It takes connections and says nothing: the first check of it takes as long as a reload waits.
  let asked = false;
  const mute = createServer(() => {
    asked = true;
  }).listen(0, '127.0.0.1');
  t.teardown(() => mute.close());
  await once(mute, 'listening');
  const port = await freePort();
  const write = (pool: string) =>
    writeConfig(files.directory, [
      ...['workers: 1', 'admin: { metrics: false }', 'sessions: { capacity: 1024 }', 'frontends:'],
      `  web: { bind: ["127.0.0.1:${port}"], pool: web, tls: { certificates: [${shop.files}] }, routes: [{ match: { path: { prefix: /x } }, pool: more }] }`,
      'pools:',
      `  web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${backend}" } } }`,
      `  more: { ${pool} }`,
    ]);
  const config = write(
    `tls: { ca: root.pem }, health: { type: none }, backends: { s1: { address: "127.0.0.1:${backend}" } }`,
  );
  const lbd = new LbdProcess(t, files.directory, ['--config', config]);
  await lbd.logged(/^ready/);
  const { port: silent } = mute.address() as { port: number };
  write(
    `health: { type: http, interval: 30s, timeout: 20s }, backends: { s1: { address: "127.0.0.1:${silent}" } }`,
  );
  lbd.child.kill('SIGHUP');
  await settled(() => asked);
  const renewed = files.server('shop', ['shop', 'new.example']);
  await lbd.logged(/^reload: .* is in force/);
  const status = await lbd.status();
  t.match(status.workers, { running: 1, replaced: 0 });
  const shown = async () => {
    const client = await SecureClient.open(t, port);
    return client.socket.getPeerCertificate().fingerprint256;
  };
  while ((await shown()) !== fingerprintOf(renewed)) await nextTurn();
  t.match((await lbd.status()).workers, { running: 1, replaced: 0 });
  t.match(status.pools.more!.backends, { s1: {} });
});

t.test(
  'one of two thousand certificates is renewed: every worker stays, and connections go on',
  async (t) => {
    const files = new Certificates(t);
    const write = writeMany(files, SOME);
    const backend = await origin(t, (_, response) => response.end('ok'));
    const [secure, plain] = [await freePort(), await freePort()];
    const config = writeConfig(files.directory, [
      ...['workers: 2', 'admin: { metrics: false }', 'sessions: { capacity: 1024 }', 'frontends:'],
      `  web: { bind: ["127.0.0.1:${secure}"], pool: web, tls: { certificates: certs } }`,
      `  plain: { bind: ["127.0.0.1:${plain}"], pool: web }`,
      'pools:',
      `  web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${backend}" } } }`,
    ]);
    const lbd = new LbdProcess(t, files.directory, ['--config', config]);
    await lbd.logged(/^ready/);
    const open = await RawClient.open(t, plain);
    open.write(GET);
    await open.until((text) => text.endsWith('ok'));
    const shown = async (i: number) => {
      const client = await SecureClient.open(t, secure, { servername: `n${i}.example` });
      const { fingerprint256 } = client.socket.getPeerCertificate();
      t.match(await client.ask(GET, 'ok'), 'ok');
      return fingerprint256;
    };
    await shown(7);
    const renewed = write(1234);
    await lbd.logged(/certificates were read again and are in force/);
    t.equal(await shown(1234), fingerprintOf(renewed));
    t.match((await lbd.status()).workers, { running: 2, replaced: 0 });
    const before = open.text.length;
    open.write(GET);
    t.match((await open.until((text) => text.length > before && text.endsWith('ok'))).slice(before), 'ok');
    t.equal(open.closed, 'no');
  },
);

t.test(
  'ten thousand certificates are read while the loop turns, and then only those that changed',
  async (t) => {
    const files = new Certificates(t);
    const write = writeMany(files, MANY);
    const tls = controlOf(t);
    const config = configOf(files, 'certificates: certs');
    let turns = 0;
    let reading = true;
    const turning = (async () => {
      for (; reading; turns++) await delay(1);
    })();
    const first = await tls.prepare(config);
    reading = false;
    await turning;
    t.ok(turns > 100, `${turns} turns meanwhile`);
    t.equal(first.parsed, MANY);
    tls.take(first);
    const before = tls.certificates('web');
    t.equal(before.length, MANY);
    const { version, policy } = tls.material.frontends.web!;

    t.equal((await tls.prepare(config)).parsed, 0, 'nothing has changed');
    const renewed = write(4711);
    const second = await tls.prepare(config);
    t.equal(second.parsed, 1, 'one has');
    tls.take(second);
    const now = tls.material.frontends.web!;
    t.not(now.version, version);
    t.equal(now.policy, policy, 'workers keep what they have of the others');
    const statuses = tls.certificates('web');
    t.equal(statuses.length, MANY);
    t.same(
      statuses.filter((status) => !before.includes(status)).map(({ sha256 }) => sha256),
      [fingerprintOf(renewed)],
      'no other one is told anew',
    );
  },
);

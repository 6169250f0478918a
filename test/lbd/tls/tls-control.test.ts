import { execFile } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { problemsOf } from '../../../lbd/tls/tls-control.ts';
import { freePort } from '../../common/free-port.ts';
import { LbdProcess, origin, writeConfig } from '../lbd-process.ts';
import { certify } from './authority.ts';
import { Certificates, SecureClient } from './secure-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const LBCTL = new URL('../../../scripts/lbctl.ts', import.meta.url).pathname;

/** @returns what `lbctl check` says, and its exit code */
async function check(file: string): Promise<{ text: string; code: number }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [LBCTL, 'check', file]);
    return { text: stdout + stderr, code: 0 };
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
    return { text: stdout + stderr, code };
  }
}

const frontend = (port: number, tls: string) => [
  'frontends:',
  `  web: { bind: ["127.0.0.1:${port}"], pool: web, tls: { ${tls} } }`,
  'pools:',
];
const pool = (port: number) =>
  `  web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${port}" } } }`;
const ALONE = ['workers: 2', 'admin: { metrics: false }', 'sessions: { capacity: 1024 }'];

async function shown(t: Test, port: number): Promise<string> {
  const client = await SecureClient.open(t, port);
  // The server's handshake is over as well, once it has answered.
  await client.ask(GET, 'ok');
  const { subject } = client.socket.getPeerCertificate();
  client.socket.destroy();
  return String(subject.CN);
}

/** What cannot be used of the files, in the words of `lbctl check`. */
function problems(files: Certificates, tls: string): string[] {
  const text = [...ALONE, ...frontend(1, tls), pool(2)].join('\n');
  return problemsOf(parseConfig(text, join(files.directory, 'tandem.yaml'), { cpus: 1 }));
}

t.test('certificates are followed: new ones serve, bad ones do not, and the status says so', async (t) => {
  const files = new Certificates(t);
  const backend = await origin(t, (_, response) => response.end('ok'));
  const port = await freePort();
  const server = files.server('shop');
  const config = writeConfig(files.directory, [
    ...ALONE,
    ...frontend(port, 'certificates: [{ cert: shop.crt, key: shop.key }]'),
    pool(backend),
  ]);
  const lbd = new LbdProcess(t, files.directory, ['--config', config]);
  await lbd.logged(/^ready/);
  t.equal(await shown(t, port), 'shop');

  writeFileSync(server.keyFile, certify().key);
  const refused = await lbd.logged(/key is not the one/);
  t.match(
    refused,
    `frontend web: ${server.keyFile}: this key is not the one of ${server.certFile}; the old one stays`,
  );
  t.equal(await shown(t, port), 'shop');
  t.ok((await lbd.status()).warnings.includes(refused));
  t.match((await check(config)).text, 'this key is not the one of');

  const soon = certify({
    name: 'soon',
    alternatives: ['soon.example'],
    issuer: files.root,
    fromDays: -80,
    toDays: 2.5,
  });
  writeFileSync(server.certFile, soon.cert);
  writeFileSync(server.keyFile, soon.key);
  await lbd.logged(/certificates were read again/);
  t.equal(await shown(t, port), 'soon');
  const status = await lbd.status();
  t.match(status.frontends.web!.tls, {
    certificates: [{ file: server.certFile, names: ['soon.example'], key_type: 'ec' }],
    handshakes: 3,
    failed: 0,
  });
  t.same(
    status.warnings.map((line) => line.replace(/\d{4}-.*/, 'DAY')),
    [`certificate ${server.certFile} (soon.example) expires in 2 days, on DAY`],
  );
  t.notMatch(JSON.stringify(status), 'PRIVATE', 'no key in the status');
  const body = soon.key.split('\n')[1]!;
  t.notMatch(JSON.stringify(await lbd.call('GET', '/v1/events')), body);

  writeConfig(files.directory, [
    ...ALONE,
    ...frontend(port, 'certificates: [{ cert: shop.crt, key: none.key }]'),
    pool(backend),
  ]);
  lbd.child.kill('SIGHUP');
  t.match(await lbd.logged(/reload refused/), `${join(files.directory, 'none.key')}: no such file`);
  t.equal(await shown(t, port), 'soon', 'what runs goes on');
});

/** Starts a node of a pair that shares a secret and a certificate; the two meet once both run. */
async function pairOf(t: Test) {
  const files = new Certificates(t);
  files.server('shop');
  const secret = files.write('secret', 'x'.repeat(32));
  chmodSync(secret, 0o600);
  const backend = await origin(t, (_, response) => response.end('ok'));
  const sync = await freePort();
  const ports = [await freePort(), await freePort()];
  const start = async (i: 0 | 1) => {
    const config = files.write(
      `lb${i + 1}.yaml`,
      [
        ...ALONE,
        'cluster: { name: shop, secret_file: secret, nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 127.0.0.2 } } }',
        'ha: { vips: [{ address: 192.0.2.100/32, interface: lo }] }',
        `sync: { port: ${sync} }`,
        ...frontend(ports[i]!, 'certificates: [{ cert: shop.crt, key: shop.key }]'),
        pool(backend),
      ].join('\n'),
    );
    const args = ['--config', config, '--node', `lb${i + 1}`];
    const lbd = new LbdProcess(t, files.directory, args, join(files.directory, `run${i + 1}`));
    await lbd.logged(/^ready/);
    return lbd;
  };
  return { ports, start };
}

t.test('a bad renewal of the first certificate leaves it the one for everybody else', async (t) => {
  const files = new Certificates(t);
  const backend = await origin(t, (_, response) => response.end('ok'));
  const port = await freePort();
  const [first] = [files.server('alpha'), files.server('beta')];
  const config = writeConfig(files.directory, [
    ...ALONE,
    ...frontend(
      port,
      'certificates: [{ cert: alpha.crt, key: alpha.key }, { cert: beta.crt, key: beta.key }]',
    ),
    pool(backend),
  ]);
  const lbd = new LbdProcess(t, files.directory, ['--config', config]);
  await lbd.logged(/^ready/);
  t.equal(await shown(t, port), 'alpha');
  writeFileSync(first.keyFile, '');
  await lbd.logged(/alpha.*the old one stays/);
  // Something new beside it, so that what serves is put together anew.
  files.server('beta');
  await lbd.logged(/read again and are in force/);
  t.equal(await shown(t, port), 'alpha');
});

t.test('a session of one node is resumed on the other, by any of its workers', async (t) => {
  const { ports, start } = await pairOf(t);
  const nodes = await Promise.all([start(0), start(1)]);
  await Promise.all(nodes.map((node) => node.logged(/^session sync: synced/)));
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { maxVersion, servername: 'shop' };
    const first = await SecureClient.open(t, ports[0]!, options);
    await first.ask(GET, 'ok');
    const session = await first.session();
    // Enough for both workers of the other node, which share its port.
    for (let i = 0; i < 8; i++) {
      const client = await SecureClient.open(t, ports[1]!, { ...options, session });
      await client.ask(GET, 'ok');
      if (!client.socket.isSessionReused()) t.fail(`${maxVersion}: connection ${i} made a full handshake`);
      client.socket.destroy();
    }
    t.pass(`${maxVersion}: all resumed`);
  }
  const { tls } = (await nodes[1].status()).frontends.web!;
  t.match(tls, { handshakes: 0, resumed: 16 });
});

t.test(
  "the cluster's secret opens no ticket: a node that never met the other one resumes nothing",
  async (t) => {
    const { ports, start } = await pairOf(t);
    const first = await start(0);
    const sessions = new Map<'TLSv1.2' | 'TLSv1.3', Buffer>();
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const client = await SecureClient.open(t, ports[0]!, { maxVersion, servername: 'shop' });
      await client.ask(GET, 'ok');
      sessions.set(maxVersion, await client.session());
    }
    first.child.kill('SIGKILL');
    await first.exited;
    await start(1);
    for (const [maxVersion, session] of sessions) {
      const client = await SecureClient.open(t, ports[1]!, { maxVersion, servername: 'shop', session });
      await client.ask(GET, 'ok');
      t.notOk(client.socket.isSessionReused(), maxVersion);
    }
  },
);

t.test(
  'after a restart with a key that cannot be used all else serves, and the status says what does not',
  async (t) => {
    const files = new Certificates(t);
    const backend = await origin(t, (_, response) => response.end('ok'));
    const [port, other, plain] = [await freePort(), await freePort(), await freePort()];
    const shop = files.server('shop');
    const [api, old] = [files.server('api'), files.server('old')];
    writeFileSync(shop.keyFile, 'hello');
    writeFileSync(old.keyFile, 'hello');
    const config = writeConfig(files.directory, [
      ...ALONE,
      'frontends:',
      `  web: { bind: ["127.0.0.1:${port}"], pool: web, tls: { certificates: [${shop.files}] } }`,
      `  api: { bind: ["127.0.0.1:${other}"], pool: web, tls: { certificates: [${old.files}, ${api.files}] } }`,
      `  plain: { bind: ["127.0.0.1:${plain}"], pool: web, routes: [{ match: { path: /s }, pool: secret }] }`,
      'pools:',
      pool(backend),
      `  secret: { health: { type: none }, tls: { ca: none.pem }, backends: { s1: { address: "127.0.0.1:${backend}" } } }`,
    ]);
    const lbd = new LbdProcess(t, files.directory, ['--config', config]);
    await lbd.logged(/^ready/);
    t.equal(await shown(t, other), 'api', 'another frontend, by the one of its certificates that is sound');
    const get = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${plain}${path}`);
      return `${answer.status} ${await answer.text()}`;
    };
    t.equal(await get('/'), '200 ok', 'a frontend without TLS');
    t.match(await get('/s'), '503 ', 'nothing goes to a backend in the clear that was to get it in secret');
    await t.rejects(SecureClient.open(t, port), 'nor is the frontend in the clear');
    const status = await lbd.status();
    const said = (pattern: RegExp) => status.warnings.filter((line) => pattern.test(line));
    t.equal(said(/^frontend web: .*shop\.key: .*; nothing is served there$/).length, 1);
    t.equal(said(/^pool secret: .*none\.pem: no such file; nothing is served there$/).length, 1);
    t.equal(said(/^frontend api: .*old\.key: .*PEM$/).length, 1);
    t.match(status.pools.secret!.backends.s1, { state: 'down', why: /the files of its TLS cannot be used/ });
    t.same(status.left_out, ['frontend web', 'pool secret']);
    t.equal((await check(config)).code, 1);
    const asked = { method: 'GET', target: '/', headers: [['Host', 'shop']] };
    t.match(await lbd.call('POST', '/v1/explain', { ...asked, frontend: 'web' }), {
      unserved: [/^frontend web: .*shop\.key: .*; nothing is served there$/],
      picks: [],
    });
    t.match(await lbd.call('POST', '/v1/explain', { ...asked, frontend: 'api' }), { unserved: [] });
    t.match(await lbd.call('POST', '/v1/reload'), { outcome: 'unchanged' }, 'and is in the way of no reload');

    const text = readFileSync(config, 'utf8');
    writeFileSync(config, text.replace('tls: { ca: none.pem }, ', ''));
    await lbd.call('POST', '/v1/reload');
    t.equal(await get('/s'), '200 ok', 'a pool that is spoken to in the clear after all');
    writeFileSync(config, text);
    t.match(
      await lbd.call('POST', '/v1/reload'),
      { outcome: 'refused' },
      'which now serves more than the file would',
    );
    t.equal(await get('/s'), '200 ok');

    files.server('shop');
    files.write('none.pem', files.root.cert);
    await lbd.logged(/certificates were read again and are in force/);
    t.equal(await shown(t, port), 'shop', 'once it is mended it serves without a restart');
    const mended = await lbd.status();
    t.match(mended.pools.secret!.backends.s1, { state: 'ready' });
    t.same(mended.left_out, []);
  },
);

t.test(
  'what cannot be used: each file is named, lbctl check fails, and lbd --strict does not start',
  async (t) => {
    const files = new Certificates(t);
    const shop = files.server('shop');
    files.write('garbage.crt', 'hello');
    const cases = [
      ['certificates: [{ cert: none.crt, key: shop.key }]', 'none.crt: no such file'],
      [
        'certificates: [{ cert: garbage.crt, key: shop.key }]',
        'garbage.crt: found no certificate, expected PEM',
      ],
      ['certificates: empty', 'empty: no such directory'],
      [`certificates: [${shop.files}], client: { ca: garbage.crt }`, 'garbage.crt: found no certificate'],
    ] as const;
    for (const [tls, expected] of cases) t.match(problems(files, tls).join(), expected, tls);
    t.match(problems(files, 'certificates: .').join(), /root\.pem/, 'in the directory is one without a key');
    const port = await freePort();
    const config = writeConfig(files.directory, [...ALONE, ...frontend(port, cases[0][0]), pool(2)]);
    const lbd = new LbdProcess(t, files.directory, ['--config', config, '--strict']);
    const [{ text, code }, exited] = await Promise.all([check(config), lbd.exited]);
    t.equal(code, 1);
    t.match(text, 'none.crt: no such file');
    t.same(exited, { code: 1, signal: null });
    t.match(await lbd.stderr, 'none.crt: no such file');
  },
);

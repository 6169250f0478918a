import { once } from 'node:events';
import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { probeHttp } from '../../../lbd/control/health/http-probe.ts';
import { probeTcp } from '../../../lbd/control/health/tcp-probe.ts';
import { targetsOf } from '../../../lbd/control/planner.ts';
import { allowReset } from '../../../lbd/io/secure-socket.ts';
import { PoolTls } from '../../../lbd/tls/backend-tls.ts';
import { freePort } from '../../common/free-port.ts';
import { OK, Plane, RawClient } from '../harness.ts';
import { certify } from './authority.ts';
import { Certificates } from './secure-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

interface Backend {
  readonly port: number;
  readonly sockets: TLSSocket[];
  readonly heard: string[];
}

async function backend(
  t: Test,
  options: TlsOptions,
  reply: (socket: TLSSocket, text: string) => void = (socket, text) => {
    for (const _ of text.matchAll(/\r\n\r\n/g)) socket.write(OK);
  },
): Promise<Backend> {
  const sockets: TLSSocket[] = [];
  const heard: string[] = [];
  const server = createServer({ allowHalfOpen: true, ...options } as TlsOptions, (socket) => {
    const index = sockets.push(socket) - 1;
    heard.push('');
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      heard[index] += bytes.toString('latin1');
      reply(socket, bytes.toString('latin1'));
    });
    socket.on('end', () => {
      heard[index] += '<end>';
      socket.end();
    });
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as net.AddressInfo).port, sockets, heard };
}

function yaml(port: number, tls: string, more = '', mode = 'http'): string {
  return `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: ${mode}, pool: web } }
pools: { web: { tls: { ${tls} }, ${more} backends: { s1: { address: "127.0.0.1:${port}" } } } }
`;
}

async function ask(t: Test, plane: Plane, request = GET): Promise<string> {
  const client = await RawClient.open(t, plane.port);
  client.write(request);
  const text = await client.until((got) => /\r\n\r\n.+/s.test(got));
  client.socket.destroy();
  return text;
}

t.test('a renewed authority does not end what is open to a backend', async (t) => {
  const files = new Certificates(t);
  const { cert, key } = files.server('a.example');
  const { port } = await backend(t, { cert, key }, (socket, text) => socket.write(text));
  const more = 'drain_timeout: 200ms,';
  const plane = await Plane.start(
    t,
    yaml(port, `ca: ${files.rootFile}, server_name: a.example`, more, 'tcp'),
  );
  const open = async () => {
    const client = await RawClient.open(t, plane.port);
    client.write('hello');
    await client.until((text) => text === 'hello');
    return client;
  };
  const before = await open();
  const both = files.write('both.pem', files.root.cert + certify({ name: 'next', authority: true }).cert);
  const next = yaml(port, `ca: ${both}, server_name: a.example`, more, 'tcp');
  await plane.apply(parseConfig(next.replace('PORT', String(plane.port)), '/test.yaml', { cpus: 1 }));
  await open();
  await sleep(1000);
  before.write(' again');
  t.equal(await before.until((text) => text === 'hello again'), 'hello again');
});

t.test('who the backend must be', async (t) => {
  const files = new Certificates(t);
  const stranger = certify({ name: 'a.example', alternatives: ['a.example'] });
  const named = files.server('a.example');
  const addressed = files.server('byip', ['127.0.0.1']);
  const expired = files.server('old.example', ['old.example'], { toDays: -0.5 });
  const ca = `ca: ${files.rootFile}`;
  for (const [name, identity, tls, expected] of [
    ['by name', named, `${ca}, server_name: a.example`, /^HTTP\/1.1 200/],
    ['by address', addressed, ca, /^HTTP\/1.1 200/],
    ['another name', named, `${ca}, server_name: b.example`, /502 .*ERR_TLS_CERT_ALTNAME_INVALID/s],
    ['no such address', named, ca, /502 .*ERR_TLS_CERT_ALTNAME_INVALID/s],
    ['an unknown authority', stranger, `${ca}, server_name: a.example`, /502 .*SELF_SIGNED_CERT/s],
    [
      'not one of the public authorities',
      named,
      'server_name: a.example',
      /502 .*UNABLE_TO_VERIFY_LEAF_SIGNATURE/s,
    ],
    ['expired', expired, `${ca}, server_name: old.example`, /502 .*CERT_HAS_EXPIRED/s],
    ['no matter who', stranger, 'verify: false', /^HTTP\/1.1 200/],
  ] as const) {
    const server = await backend(t, { cert: identity.cert, key: identity.key });
    const plane = await Plane.start(t, yaml(server.port, tls));
    t.match(await ask(t, plane), expected, name);
    t.equal(plane.active, 0);
  }
});

t.test('the name is asked for, and lbd shows its own certificate', async (t) => {
  const files = new Certificates(t);
  const me = files.server('lbd');
  const a = files.server('a.example');
  const names: string[] = [];
  const server = await backend(t, {
    cert: a.cert,
    key: a.key,
    ca: files.root.cert,
    requestCert: true,
    SNICallback: (name, done) => {
      names.push(name);
      done(null);
    },
  });
  const tls = `ca: ${files.rootFile}, server_name: a.example`;
  const plane = await Plane.start(t, yaml(server.port, `${tls}, cert: ${me.certFile}, key: ${me.keyFile}`));
  t.match(await ask(t, plane), 'ok');
  t.equal(server.sockets[0]!.getPeerCertificate().subject.CN, 'lbd');
  t.same(names, ['a.example']);
  const bare = await Plane.start(t, yaml(server.port, tls));
  t.match(await ask(t, bare), /502/);
});

t.test('connections are kept, and a new one resumes the session', async (t) => {
  const files = new Certificates(t);
  const a = files.server('a.example');
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = await backend(t, { cert: a.cert, key: a.key, maxVersion: version });
    const plane = await Plane.start(t, yaml(server.port, `ca: ${files.rootFile}, server_name: a.example`));
    for (let i = 0; i < 3; i++) t.match(await ask(t, plane), 'ok');
    t.equal(server.sockets.length, 1, 'one connection for all');
    server.sockets[0]!.destroy();
    while (plane.plane.open > 0) await new Promise(setImmediate);
    t.match(await ask(t, plane), 'ok');
    t.equal(server.sockets.length, 2);
    t.ok(server.sockets[1]!.isSessionReused(), version);
    await plane.apply(
      parseConfig(
        yaml(server.port, `ca: ${files.rootFile}, server_name: other.example`).replaceAll(
          'PORT',
          String(plane.port),
        ),
        '/test.yaml',
        { cpus: 1 },
      ),
    );
    t.match(await ask(t, plane), /502/, 'neither connections nor sessions outlive other settings');
  }
});

t.test('bodies both ways, a backend that is cut off, and tcp', async (t) => {
  const files = new Certificates(t);
  const { cert, key } = files.server('byip', ['127.0.0.1']);
  const big = 'x'.repeat(2_000_000);
  const server = await backend(t, { cert, key }, (socket, text) => {
    if (text.includes('/cut')) {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy());
    } else if (text.startsWith('GET'))
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n${big}`);
    else if (text.endsWith('z')) socket.write(OK);
  });
  const plane = await Plane.start(t, yaml(server.port, `ca: ${files.rootFile}`));
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  t.ok((await client.until((text) => text.length > big.length)).endsWith('xxx'));
  client.text = '';
  client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${big.length + 1}\r\n\r\n${big}z`);
  t.match(await client.until((text) => text.endsWith('ok')), /ok$/);
  const cut = await RawClient.open(t, plane.port);
  cut.write(GET.replace('/', '/cut'));
  await cut.until(() => false);
  t.equal(cut.closed, 'reset');
  t.equal(plane.active, 0);

  const echo = await backend(t, { cert, key }, (socket, text) => socket.write(text));
  const tcp = await Plane.start(t, yaml(echo.port, `ca: ${files.rootFile}`, '', 'tcp'));
  const through = await RawClient.open(t, tcp.port);
  through.write('hello');
  await through.until((text) => text === 'hello');
  through.socket.end(' you');
  t.equal(await through.end(), 'hello you');
  t.equal(echo.heard[0], 'hello you<end>');
});

t.test('a PROXY header goes out before TLS', async (t) => {
  const files = new Certificates(t);
  const { cert, key } = files.server('byip', ['127.0.0.1']);
  const { createServer: createPlain } = await import('node:net');
  const { TLSSocket: Secure, createSecureContext } = await import('node:tls');
  let header = '';
  const server = createPlain((socket) => {
    socket.once('readable', () => {
      for (let byte = socket.read(1); byte !== null; byte = socket.read(1)) {
        header += byte.toString('latin1');
        if (byte[0] === 10) break;
      }
      const secure = new Secure(socket, {
        isServer: true,
        secureContext: createSecureContext({ cert, key }),
      });
      secure.on('data', () => secure.write(OK));
      secure.on('error', () => {});
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const plane = await Plane.start(t, yaml(port, `ca: ${files.rootFile}`, 'send_proxy: v1,'));
  t.match(await ask(t, plane), /ok$/);
  t.match(header, /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$/);
  await plane.plane.stop(0);
});

t.test('a handshake that never ends is over in time, and counts as a failed connection', async (t) => {
  const files = new Certificates(t);
  const { createServer: createPlain } = await import('node:net');
  const mute = createPlain(() => {}).listen(0, '127.0.0.1');
  await once(mute, 'listening');
  t.teardown(() => mute.close());
  const { port } = mute.address() as net.AddressInfo;
  const plane = await Plane.start(t, yaml(port, `ca: ${files.rootFile}`, 'timeouts: { connect: 50ms },'));
  t.match(await ask(t, plane), /50[24] .*ETIMEDOUT/s);
  t.ok(plane.control.backendCounter(plane.slot('web/s1'), 'connect_failures') > 0);
});

t.test('health checks speak TLS as well, and say what is wrong with it', async (t) => {
  const files = new Certificates(t);
  const { cert, key } = files.server('byip', ['127.0.0.1']);
  const server = await backend(t, { cert, key });
  const { signal } = new AbortController();
  const plain = await freePort();
  for (const [type, tls, port, expected] of [
    [
      'tcp',
      `ca: ${files.rootFile}`,
      server.port,
      { outcome: 'pass', detail: 'connected, TLS handshake done' },
    ],
    ['http', `ca: ${files.rootFile}`, server.port, { outcome: 'pass', detail: 'status 200' }],
    ['http', 'verify: false', server.port, { outcome: 'pass', detail: 'status 200' }],
    ['tcp', 'verify: true', server.port, { outcome: 'fail', detail: /unable to verify/ }],
    ['http', 'verify: true', server.port, { outcome: 'fail', detail: /unable to verify/ }],
    [
      'http',
      `ca: ${files.rootFile}, server_name: b.example`,
      server.port,
      { outcome: 'fail', detail: /altnames/ },
    ],
    ['tcp', 'verify: false', plain, { outcome: 'fail', detail: 'connection refused' }],
  ] as const) {
    const config = parseConfig(
      yaml(port, tls, `health: { type: ${type}, timeout: 2s },`).replaceAll('PORT', '1'),
      '/test.yaml',
      { cpus: 1 },
    );
    const [pool] = config.pools;
    const ca = tls.startsWith('ca') ? files.root.cert : undefined;
    const [target] = targetsOf(config, () => new PoolTls(pool!.tls!, { ca, client: undefined, version: '' }));
    const one = { ...target!, address: '127.0.0.1' };
    t.match(await (type === 'tcp' ? probeTcp : probeHttp)(one, signal), expected, `${type} ${tls}`);
  }
});

t.test('a backend that answers within an upload, closes and resets: its answer arrives', async (t) => {
  const files = new Certificates(t);
  const { cert, key } = files.server('a.example');
  const { port } = await backend(t, { cert, key }, (socket, text) => {
    if (!text.startsWith('POST')) return;
    allowReset(socket);
    socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig', () =>
      socket.resetAndDestroy(),
    );
  });
  const plane = await Plane.start(t, yaml(port, 'verify: false'));
  for (let round = 0; round < 10; round++) {
    const client = await RawClient.open(t, plane.port);
    client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${4 << 20}\r\n\r\n${'x'.repeat(4 << 20)}`);
    t.match(await client.end(), /^HTTP\/1\.1 413 [\s\S]*\r\n\r\nbig$/);
    client.socket.destroy();
  }
  t.equal(plane.active, 0);
});

t.test("RFC 6066 §3 the name of a backend that is written with the root's dot", async (t) => {
  const config = { serverName: undefined, verify: true } as ConstructorParameters<typeof PoolTls>[0];
  const pool = new PoolTls(config, { ca: undefined, client: undefined, version: '' } as never);
  t.equal(pool.optionsFor('svc.cluster.local.').servername, 'svc.cluster.local');
  t.equal(pool.optionsFor('10.0.0.1').servername, undefined);
});

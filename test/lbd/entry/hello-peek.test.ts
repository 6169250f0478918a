import { once } from 'node:events';
import type net from 'node:net';
import { createServer } from 'node:tls';
import t, { type Test } from 'tap';
import { settled } from '../../common/settled.ts';
import { Plane, RawClient, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';

/** Speaks TLS itself and says its name. */
async function backend(t: Test, files: Certificates, name: string): Promise<number> {
  const { cert, key } = files.server(name);
  const sockets = new Set<net.Socket>();
  const server = createServer({ cert, key }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (bytes) => socket.write(`${name} ${bytes.length}\n`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as net.AddressInfo).port;
}

async function start(t: Test, pools: Readonly<Record<string, number>>, fallback?: string, more = '') {
  const plane = await Plane.start(
    t,
    `
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    mode: tcp
    tls: passthrough
    ${more}
    routes:
      - { match: { sni: [a.example, alias.example] }, pool: a }
      - { match: { sni: "*.shop.example" }, pool: shop }
    ${fallback === undefined ? '' : `pool: ${fallback}`}
pools:
${Object.entries(pools)
  .map(([name, port]) => `  ${name}: { backends: { s1: { address: "127.0.0.1:${port}" } } }`)
  .join('\n')}
`,
  );
  const count = (name: Parameters<typeof plane.control.frontendCounter>[1]) =>
    plane.control.frontendCounter(0, name);
  return { plane, count };
}

t.test('routed by the name in the ClientHello, not decrypted', async (t) => {
  const files = new Certificates(t);
  const [a, shop, rest] = await Promise.all(
    ['a.example', 'shop', 'rest'].map((name) => backend(t, files, name)),
  );
  const { plane, count } = await start(t, { a: a!, shop: shop!, rest: rest! }, 'rest');
  for (const [servername, expected] of [
    ['a.example', 'a.example'],
    ['ALIAS.example', 'a.example'],
    ['x.shop.example', 'shop'],
    ['y.x.shop.example', 'shop'],
    ['shop.example', 'rest'],
    ['other', 'rest'],
    ['', 'rest'],
  ] as const) {
    const client = await SecureClient.open(t, plane.port, { servername });
    client.write('x'.repeat(20_000));
    t.match(
      await client.until((text) => text.includes('\n')),
      new RegExp(`^${expected} \\d+\n`),
      servername || 'no name',
    );
    t.equal(client.socket.getPeerCertificate().subject.CN, expected);
    client.socket.destroy();
  }
  await settled(() => count('connections') === 0 && plane.active === 0);
});

t.test('a ClientHello byte by byte; what the client sends is what the backend gets', async (t) => {
  const hello = Buffer.concat([
    Buffer.from(
      '160301003d0100003903030000000000000000000000000000000000000000000000000000000000000000',
      'hex',
    ),
    Buffer.from('0000021301', 'hex'),
    Buffer.from('0100000e0000000a0008000005612e6f7267', 'hex'),
  ]);
  // Lengths by hand: 5 + 61 bytes.
  t.equal(hello.length, 66, 'the test itself');
  const origin = await RawOrigin.start(t, (socket) => socket.write('.'));
  const { plane } = await start(t, { a: 1, shop: 1, rest: origin.port }, 'rest');
  const text = hello.toString('latin1');
  const client = await RawClient.open(t, plane.port);
  await client.trickle(`${text}and more`);
  await origin.until(() => origin.received[0] === `${text}and more`);
  t.pass('whole and in order');
});

t.test('what nobody serves is refused with a cause, and leaves nothing behind', async (t) => {
  const origin = await RawOrigin.start(t);
  const { plane, count } = await start(
    t,
    { a: origin.port, shop: origin.port },
    undefined,
    'timeouts: { head: 100ms }',
  );
  const unknown = new SecureClient(t, plane.port, { servername: 'b.example' });
  await unknown.end();
  t.equal(unknown.closed, 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME');
  const nameless = new SecureClient(t, plane.port);
  await nameless.end();
  t.equal(nameless.closed, 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME');
  t.equal(count('refused_other'), 2);
  for (const garbage of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x00\x00', '\x80\x2e\x01\x03\x01']) {
    const client = await RawClient.open(t, plane.port);
    client.write(garbage);
    t.equal(await client.end(), '');
    client.socket.destroy();
  }
  const gone = await RawClient.open(t, plane.port);
  gone.write('\x16\x03\x01\x02\x00\x01');
  gone.socket.end();
  await gone.end();
  gone.socket.destroy();
  await settled(() => count('refused_400') === 4);
  const mute = await RawClient.open(t, plane.port);
  await mute.end();
  t.equal(count('refused_408'), 1);
  mute.socket.destroy();
  await settled(() => count('connections') === 0);
  t.equal(origin.sockets.length, 0);
  await settled(() => plane.plane.open === 0);
});

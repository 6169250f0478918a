import t, { type Test } from 'tap';
import { proxyHeader } from '../../../common/proxy-protocol.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { withoutIds } from './exchange.ts';

const TRUSTED = 'trusted_proxies: [127.0.0.1, 10.0.0.0/8]';

/** @param keys of the frontend. @param pool keys of the pool */
async function start(t: Test, keys: string, pool = '', reply = answering(OK)) {
  let last = '';
  const origin = await RawOrigin.start(t, (socket, data) => {
    last = data;
    reply(socket, data);
  });
  const plane = await Plane.start(
    t,
    `
access_log: { path: /log }
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    pool: web
    routes:
      - { match: { header: { X-Forwarded-Proto: https } }, pool: secure }
    ${keys}
pools:
  web: { ${pool === '' ? '' : `${pool}, `}backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
  secure: { stick: { cookie: SECURE }, backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`,
  );
  const client = await RawClient.open(t, plane.port);
  const ask = async (lines: string) => {
    const before = client.text.length;
    client.write(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`);
    return (await client.until((text) => text.length > before && text.endsWith('\r\n\r\nok'))).slice(before);
  };
  /** The request that the backend got last. */
  const got = () => withoutIds(last);
  return { origin, plane, client, ask, got };
}

t.test('what a client says of itself is replaced', async (t) => {
  const { plane, ask, got } = await start(t, '');
  const forged =
    'X-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=10.0.0.7;proto=https\r\n';
  await ask(`${forged}X: 1\r\nX-Forwarded-For: 10.0.0.8\r\n`);
  t.equal(
    got(),
    'GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n',
  );
  const [line] = await plane.accessLines();
  t.match(JSON.parse(line!), { client: '127.0.0.1', pool: 'web' }, 'routes do not believe it either');
});

t.test('a trusted proxy tells who its clients are', async (t) => {
  const { plane, ask, got } = await start(t, TRUSTED, 'stick: { source: ip }');
  await ask('X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.2\r\nForwarded: for=6.6.6.6\r\n');
  t.match(
    got(),
    '\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.2, 127.0.0.1\r\nX-Forwarded-Proto: http\r\n',
  );
  t.notMatch(got(), '\r\nForwarded:');
  const answer = await ask(
    'X-Forwarded-For: 192.0.2.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n',
  );
  t.match(answer, /\r\nSet-Cookie: SECURE=s1; .*; Secure\r\n/, 'the client came by https');
  t.match(
    got(),
    '\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-For: 192.0.2.8, 127.0.0.1\r\n',
  );
  t.equal(got().match(/X-Forwarded-Proto|X-Forwarded-Host/g)?.length, 2);
  await ask('');
  t.match(got(), '\r\nX-Forwarded-For: 127.0.0.1\r\n');
  const lines = (await plane.accessLines(3)).map((line) => JSON.parse(line));
  t.same(
    lines.map(({ client, pool }) => [client, pool]),
    [
      ['192.0.2.7', 'web'],
      ['192.0.2.8', 'secure'],
      ['127.0.0.1', 'web'],
    ],
  );
  t.equal(plane.sessions.size, 2, 'each client is stuck by its own address');
  const explained = plane.plane.explain('web', {
    method: 'GET',
    target: '/',
    headers: [
      ['Host', 'a'],
      ['X-Forwarded-For', '192.0.2.7'],
    ],
    source: '127.0.0.1',
  });
  t.equal(explained?.pick?.by, 'session of 192.0.2.7', 'and so says lbctl explain');
});

t.test('a trusted proxy that speaks RFC 7239', async (t) => {
  const { plane, ask, got } = await start(t, `${TRUSTED}\n    client_field: Forwarded`);
  await ask(
    'Forwarded: for=192.0.2.7;proto=https\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\n',
  );
  t.match(
    got(),
    '\r\nForwarded: for=192.0.2.7;proto=https\r\nX-Forwarded-For: 192.0.2.7, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n',
  );
  const [line] = await plane.accessLines();
  t.match(JSON.parse(line!), { client: '192.0.2.7', pool: 'secure' });
});

t.test('per_source counts the clients behind a trusted proxy, not the proxy', async (t) => {
  const held: (() => void)[] = [];
  const { origin, plane, ask } = await start(
    t,
    `${TRUSTED}\n    limits: { per_source: 1 }`,
    '',
    (socket, data) => {
      if (data.includes('/held')) held.push(() => socket.write(OK));
      else answering(OK)(socket, data);
    },
  );
  const other = await RawClient.open(t, plane.port);
  other.write('GET /held HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n');
  await origin.until(() => held.length === 1);
  t.match(await ask('X-Forwarded-For: 192.0.2.8\r\n'), '200 OK');
  t.match(await ask('X-Forwarded-For: 192.0.2.8\r\n'), '200 OK', 'a request that is over does not count');
  const third = await RawClient.open(t, plane.port);
  third.write('GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n');
  t.match(await third.until((text) => text.includes('\r\n\r\n')), '429 ');
  t.equal(plane.control.frontendCounter(0, 'refused_source'), 1);
  held[0]!();
  await other.until((text) => text.endsWith('ok'));
  third.write('GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n');
  t.match(await third.until((text) => text.endsWith('\r\n\r\nok')), '200 OK');
});

t.test(
  'send_proxy tells the client behind a trusted proxy, and no other one goes over its connection',
  async (t) => {
    for (const version of ['v1', 'v2'] as const) {
      const { origin, plane, client, ask } = await start(
        t,
        TRUSTED,
        `send_proxy: ${version}`,
        (socket, data) => {
          // A header of version 2 has an empty line in it.
          if (data.includes('GET ')) socket.write(OK);
        },
      );
      const asked = async (...addresses: readonly string[]) => {
        for (const address of addresses) await ask(address === '' ? '' : `X-Forwarded-For: ${address}\r\n`);
      };
      await asked('192.0.2.7', '192.0.2.7', '2001:db8::7', '', '192.0.2.7');
      const to = { toAddress: '127.0.0.1', toPort: plane.port };
      const header = (address: string, port = 0) =>
        proxyHeader(version, { address, port, ...to }).toString('latin1');
      t.strictSame(
        origin.received.map((text) => text.slice(0, text.indexOf('GET '))),
        [
          header('192.0.2.7'),
          header('2001:db8::7'),
          header('127.0.0.1', client.socket.localPort),
          header('192.0.2.7'),
        ],
      );
      t.equal(origin.received[0]!.match(/GET /g)?.length, 2, 'the same client goes over the same connection');
    }
  },
);

t.test('fields that lbd adds can be switched off', async (t) => {
  const sent = 'X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: b\r\nX-Request-Id: mine\r\n';
  for (const [keys, expected] of [
    ['add_fields: []', 'X-Request-Id: mine\r\n'],
    ['add_fields: [X-Forwarded-Proto]', 'X-Request-Id: mine\r\nX-Forwarded-Proto: http\r\n'],
    ['add_fields: [X-Forwarded-Host, X-Request-Id]', 'X-Forwarded-Host: a\r\nX-Request-Id: mine\r\n'],
    ['add_fields: [CDN-Loop]', 'X-Request-Id: mine\r\nCDN-Loop: lbd.web\r\n'],
    [`${TRUSTED}\n    add_fields: []`, sent],
  ] as const) {
    const { origin, ask } = await start(t, keys);
    await ask(sent);
    t.equal(origin.received.join(''), `GET / HTTP/1.1\r\nHost: a\r\n${expected}\r\n`, keys);
  }
});

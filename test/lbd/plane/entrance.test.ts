import { once } from 'node:events';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import t, { type Test } from 'tap';
import { proxyHeader } from '../../../common/proxy-protocol.ts';
import { settled } from '../../common/settled.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const V1 = 'PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n';
const CLIENT = { address: '192.0.2.7', port: 51234, toAddress: '198.51.100.1', toPort: 443 };
const V2 = proxyHeader('v2', CLIENT).toString('latin1');
const SIX = { address: '2001:db8::7', port: 51234, toAddress: 'fd00::1', toPort: 443 };
const V2_SIX = proxyHeader('v2', SIX).toString('latin1');
const HAS_IPV6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === '::1'),
);

function yaml(
  port: number,
  { mode = 'http', accept = 'accept_proxy: [127.0.0.0/8, "::1"],', frontend = '', pool = '' } = {},
): string {
  return `
frontends: { web: { bind: ["127.0.0.1:PORT"], mode: ${mode}, pool: web, ${accept} ${frontend} } }
pools: { web: { ${pool} backends: { s1: { address: "127.0.0.1:${port}" } } } }
`;
}

async function start(t: Test, options: Parameters<typeof yaml>[1] = {}) {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(t, yaml(origin.port, options));
  const count = (name: Parameters<typeof plane.control.frontendCounter>[1]) =>
    plane.control.frontendCounter(0, name);
  return { origin, plane, count };
}

t.test('accept_proxy, http: the header tells the client, whole and byte by byte', async (t) => {
  const { origin, plane } = await start(t);
  for (const [header, address] of [
    [V1, '192.0.2.7'],
    [V2, '192.0.2.7'],
    [V2_SIX, '2001:db8::7'],
    ['PROXY UNKNOWN\r\n', '127.0.0.1'],
    [proxyHeader('v2', undefined).toString('latin1'), '127.0.0.1'],
  ] as const)
    for (const way of ['whole', 'byte by byte'] as const) {
      const before = origin.received.join('').length;
      const client = await RawClient.open(t, plane.port);
      if (way === 'whole') client.write(header + GET);
      else await client.trickle(header + GET);
      t.equal(await client.until((text) => text === OK), OK);
      t.match(
        origin.received.join('').slice(before),
        `X-Forwarded-For: ${address}\r\n`,
        `${JSON.stringify(header)} ${way}`,
      );
      client.write(GET);
      t.equal(await client.until((text) => text === OK + OK), OK + OK, 'once for a connection');
      client.socket.resetAndDestroy();
      await settled(() => plane.control.frontendCounter(0, 'connections') === 0);
    }
});

t.test('accept_proxy, tcp: no byte is lost before, in and behind the header', async (t) => {
  const { origin, plane } = await start(t, { mode: 'tcp' });
  for (const way of ['whole', 'byte by byte'] as const) {
    const client = await RawClient.open(t, plane.port);
    if (way === 'whole') client.write(`${V2}hello${GET}`);
    else await client.trickle(`${V2}hello${GET}`);
    t.equal(await client.until((text) => text === OK), OK);
    t.equal(origin.received.at(-1), `hello${GET}`);
    client.socket.end();
    await settled(() => origin.received.at(-1)!.endsWith('<end>'));
    origin.sockets.at(-1)!.end('bye');
    t.equal(await client.end(), `${OK}bye`);
  }
  await settled(() => plane.active === 0);
});

t.test('a peer that is not listed: its header is not believed', async (t) => {
  const { origin, plane, count } = await start(t, { accept: 'accept_proxy: [192.0.2.0/24],' });
  const client = await RawClient.open(t, plane.port);
  client.write(V1 + GET);
  t.match(await client.end(), 'HTTP/1.1 400 ', 'to http it is no request');
  const plain = await RawClient.open(t, plane.port);
  plain.write(GET);
  t.equal(await plain.until((text) => text === OK), OK);
  t.match(origin.received.join(''), 'X-Forwarded-For: 127.0.0.1\r\n');
  t.equal(count('refused_proxy'), 0);
});

t.test('a listed peer without a usable header is reset, with its cause', async (t) => {
  const { origin, plane, count } = await start(t, { frontend: 'timeouts: { head: 150ms },' });
  let refused = 0;
  for (const [name, bytes, end] of [
    ['a request', GET, false],
    ['a broken header', 'PROXY TCP4 nonsense\r\n', false],
    ['half a header and the end', V1.slice(0, 20), true],
    ['nothing and the end', '', true],
    ['half a header and silence', V2.slice(0, 14), false],
  ] as const) {
    const client = await RawClient.open(t, plane.port);
    if (bytes !== '') client.write(bytes);
    if (end) client.socket.end();
    t.equal(await client.end(), '', name);
    t.equal(count('refused_proxy'), ++refused, name);
  }
  t.equal(count('connections'), 0);
  t.equal(origin.sockets.length, 0);
  t.equal(plane.plane.open, 0, 'nothing is left of them');
});

t.test('the client that the header tells is what limits and sticks count', async (t) => {
  const { plane, count } = await start(t, {
    frontend: 'limits: { per_source: 1 },',
    pool: 'stick: { source: ip },',
  });
  const first = await RawClient.open(t, plane.port);
  first.write(V1 + GET);
  await first.until((text) => text === OK);
  const same = await RawClient.open(t, plane.port);
  same.write(V1 + GET);
  t.match(await same.end(), 'HTTP/1.1 429 ');
  const other = await RawClient.open(t, plane.port);
  other.write(V2_SIX + GET);
  t.equal(await other.until((text) => text === OK), OK);
  t.equal(count('refused_source'), 1);
  t.equal(plane.sessions.size, 2, 'one session for each address');
});

t.test('send_proxy, tcp: the backend gets the header first, exactly once', async (t) => {
  for (const version of ['v1', 'v2'] as const) {
    const { origin, plane } = await start(t, {
      mode: 'tcp',
      pool: `send_proxy: ${version},`,
    });
    const forwarded = await RawClient.open(t, plane.port);
    forwarded.write(`${V1}hello`);
    const expected = `${proxyHeader(version, CLIENT).toString('latin1')}hello`;
    await origin.until(() => origin.received[0]?.length === expected.length);
    t.equal(origin.received[0], expected, `${version}, from a header that came`);
  }
  const { origin, plane } = await start(t, { mode: 'tcp', accept: '', pool: 'send_proxy: v1,' });
  const direct = await RawClient.open(t, plane.port);
  direct.write('hi');
  const { localPort } = direct.socket;
  const expected = `PROXY TCP4 127.0.0.1 127.0.0.1 ${localPort} ${plane.port}\r\nhi`;
  await origin.until(() => origin.received[0]?.length === expected.length);
  t.equal(origin.received[0], expected, 'from the socket');
});

t.test('send_proxy, http: a backend connection serves one client only, and that one again', async (t) => {
  const { origin, plane } = await start(t, { accept: '', pool: 'send_proxy: v1,' });
  const clients = [await RawClient.open(t, plane.port), await RawClient.open(t, plane.port)];
  for (let i = 1; i <= 3; i++)
    for (const client of clients) {
      client.write(GET);
      await client.until((text) => text === OK.repeat(i));
    }
  t.equal(origin.sockets.length, 2);
  for (const [i, client] of clients.entries()) {
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.socket.localPort} ${plane.port}\r\n`;
    const mine = origin.received.find((text) => text.startsWith(header));
    t.equal(mine?.match(/PROXY TCP4/g)?.length, 1, `client ${i}: one header`);
    t.equal(mine?.match(/^GET /gm)?.length, 3, 'and three requests');
  }
  clients[0]!.socket.resetAndDestroy();
  await origin.until(() => origin.received.some((text) => /<(end|close|reset)>$/.test(text)));
  t.pass('it ends with its client');
  t.equal(plane.active, 0);
});

t.test('send_proxy, http: a kept connection that the backend closes is replaced', async (t) => {
  const { origin, plane } = await start(t, { accept: '', pool: 'send_proxy: v2,' });
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  await client.until((text) => text === OK);
  origin.sockets[0]!.destroy();
  await settled(() => origin.received[0]!.endsWith('<close>'));
  client.write(GET);
  t.equal(await client.until((text) => text === OK + OK), OK + OK);
  t.equal(origin.sockets.length, 2);
});

t.test('max_connections is exact', async (t) => {
  const { plane, count } = await start(t, { accept: '', frontend: 'max_connections: 3,', mode: 'tcp' });
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = await RawClient.open(t, plane.port).catch(() => undefined);
      client?.write(GET);
      return (await client?.until((text) => text === OK)) === OK ? client : undefined;
    }),
  );
  t.equal(clients.filter((client) => client !== undefined).length, 3);
  t.equal(count('refused_full'), 17);
  t.equal(count('connections'), 3);
});

t.test('a range of ports, and several binds of one frontend', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const binds = HAS_IPV6 ? '["127.0.0.1:PORT-FIFTH", "[::1]:PORT"]' : '["127.0.0.1:PORT-FIFTH"]';
  const first = 20_000 + (process.pid % 20_000);
  const text = yaml(origin.port, { accept: '' })
    .replace('["127.0.0.1:PORT"]', binds.replaceAll('PORT', String(first)))
    .replace('FIFTH', String(first + 4));
  const plane = await Plane.start(t, text);
  t.equal(plane.config.frontends[0]!.bind.length, HAS_IPV6 ? 6 : 5);
  for (let port = first; port < first + 5; port++) {
    const client = await RawClient.open(t, port);
    client.write(GET);
    t.equal(await client.until((text) => text === OK), OK, `port ${port}`);
  }
  if (!HAS_IPV6) return;
  const socket = net.connect({ host: '::1', port: first });
  t.teardown(() => socket.destroy());
  socket.write(GET);
  const [bytes] = await once(socket, 'data');
  t.equal(String(bytes).replace(/Date: .*\r\n/, ''), OK);
  t.match(origin.received.join(''), 'X-Forwarded-For: ::1\r\n');
});

t.test('IPv6 from end to end', { skip: HAS_IPV6 ? false : 'no ::1 here' }, async (t) => {
  const received: string[] = [];
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      received.push(bytes.toString('latin1'));
      socket.write(OK);
    });
    t.teardown(() => socket.destroy());
  });
  server.listen(0, '::1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["[::1]:PORT"], mode: http, pool: web, accept_proxy: ["::1"] } }
pools: { web: { algorithm: ip-hash, stick: { source: ip }, send_proxy: v2, backends: { s1: { address: "[::1]:${port}" } } } }
`,
  );
  const socket = net.connect({ host: '::1', port: plane.port });
  t.teardown(() => socket.destroy());
  socket.write(`${V2_SIX}${GET}`, 'latin1');
  await once(socket, 'data');
  const text = received.join('');
  t.ok(text.startsWith(V2_SIX), 'the header goes on');
  t.match(text, 'X-Forwarded-For: 2001:db8::7\r\n');
  t.equal(plane.sessions.size, 1);
});

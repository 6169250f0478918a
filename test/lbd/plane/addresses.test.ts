import { once } from 'node:events';
import net from 'node:net';
import t, { type Test } from 'tap';
import type { Addresses } from '../../../lbd/shared/plan.ts';
import { freePort } from '../../common/free-port.ts';
import { settled } from '../../common/settled.ts';
import { Plane, RawClient } from '../harness.ts';
import { Client, Origin } from '../udp/udp-peers.ts';

/** Answers each request with the address at which it came, on connections that stay. */
async function originAt(t: Test, host: string, port: number): Promise<Set<net.Socket>> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${host.length}\r\n\r\n${host}`));
  });
  server.listen(port, host);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return sockets;
}

async function setUp(t: Test, pool = '', frontend = 'mode: http') {
  const port = await freePort();
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web, ${frontend} } }
pools: { web: { ${pool} backends: { s1: { address: "app.test:${port}" } } } }`,
  );
  const lead = (...addresses: string[]) => {
    const all: Addresses = { [`web/s1 app.test:${port}`]: addresses };
    plane.plane.setAddresses(all);
  };
  return { port, plane, lead };
}

/** As `setUp`, in mode http and with a client. */
async function setUpHttp(t: Test, pool = '') {
  const it = await setUp(t, pool);
  const client = await RawClient.open(t, it.plane.port);
  const get = async () => {
    const before = client.text.length;
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const text = await client.until((all) => /\r\n\r\n.+$/s.test(all.slice(before)));
    return text.slice(before).split('\r\n\r\n')[1]!;
  };
  return { ...it, get, client };
}

t.test('a backend whose name has no address yet gets nobody, and no name is looked up', async (t) => {
  const { get, lead, port } = await setUpHttp(t);
  t.match(await get(), /no healthy backend/);
  await originAt(t, '127.0.0.1', port);
  lead('127.0.0.1');
  t.equal(await get(), '127.0.0.1');
});

for (const pool of ['', 'send_proxy: v1,'])
  t.test(
    `idle connections to addresses that are gone are left${pool && ', with send_proxy as well'}`,
    async (t) => {
      const { get, lead, port } = await setUpHttp(t, pool);
      const first = await originAt(t, '127.0.0.1', port);
      await originAt(t, '127.0.0.2', port);
      lead('127.0.0.1');
      t.equal(await get(), '127.0.0.1');
      lead('127.0.0.2');
      t.equal(await get(), '127.0.0.2');
      await settled(() => first.size === 0);
    },
  );

t.test('a connection that is busy when its address goes is not kept afterwards', async (t) => {
  const { lead, port, client, get } = await setUpHttp(t);
  const held = Promise.withResolvers<net.Socket>();
  const closed = Promise.withResolvers<void>();
  const slow = net.createServer((socket) => {
    socket.on('close', () => closed.resolve());
    socket.on('data', () => held.resolve(socket));
  });
  slow.listen(port, '127.0.0.1');
  await once(slow, 'listening');
  t.teardown(() => slow.close());
  await originAt(t, '127.0.0.2', port);
  lead('127.0.0.1');
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const socket = await held.promise;
  lead('127.0.0.2');
  socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow');
  t.match(await client.until((text) => text.endsWith('slow')), /^HTTP\/1\.1 200/);
  await closed.promise;
  t.equal(await get(), '127.0.0.2');
});

t.test('requests of one client go to all addresses, over connections that are kept', async (t) => {
  const { get, lead, port } = await setUpHttp(t);
  const [one, two] = [await originAt(t, '127.0.0.1', port), await originAt(t, '127.0.0.2', port)];
  lead('127.0.0.1', '127.0.0.2');
  const answers: string[] = [];
  for (let i = 0; i < 6; i++) answers.push(await get());
  t.equal(answers.filter((it) => it === '127.0.0.1').length, 3);
  t.strictSame([one.size, two.size], [1, 1]);
});

t.test(
  'where one address takes no connection, the request goes to another one of the same backend',
  async (t) => {
    const { get, lead, port } = await setUpHttp(t);
    await originAt(t, '127.0.0.2', port);
    lead('127.0.0.1', '127.0.0.2', '127.0.0.3');
    for (let i = 0; i < 6; i++) t.equal(await get(), '127.0.0.2');
  },
);

t.test('so does a connection of mode tcp', async (t) => {
  const { plane, lead, port } = await setUp(t, '', 'mode: tcp');
  await originAt(t, '127.0.0.2', port);
  lead('127.0.0.1', '127.0.0.2', '127.0.0.3');
  for (let i = 0; i < 4; i++) {
    const client = await RawClient.open(t, plane.port);
    client.write('x');
    t.match(await client.until((text) => text.endsWith('127.0.0.2')), /200 OK/);
  }
});

t.test('a flow of mode udp leaves an address that is gone, and one where nobody listens', async (t) => {
  const { plane, lead, port } = await setUp(t, 'health: { type: none },', 'mode: udp');
  await Origin.start(t, 'one', '127.0.0.1', port);
  const two = await Origin.start(t, 'two', '127.0.0.2', port);
  lead('127.0.0.1');
  const client = await Client.open(t, plane.port);
  t.equal(await client.ask('1'), 'one 1');
  lead('127.0.0.2');
  t.equal(await client.ask('2'), 'two 2');
  lead('127.0.0.1', '127.0.0.2');
  t.equal(await client.ask('3'), 'two 3', 'it stays where it is as long as that is there');
  two.stop();
  client.socket.send('lost', plane.port, '127.0.0.1');
  const slot = plane.slot('web/s1');
  await settled(() => plane.control.backendCounter(slot, 'connect_failures') > 0);
  t.equal(await client.ask('4'), 'one 4');
});

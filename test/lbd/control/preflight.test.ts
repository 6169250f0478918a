import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import t from 'tap';
import { holderOf } from '../../../lbd/control/port-holder.ts';
import { preflight } from '../../../lbd/control/preflight.ts';
import { freePort } from '../../common/free-port.ts';

t.test('a free port is given back', async (t) => {
  const port = await freePort();
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  const bind = { what: 'frontend web', protocol: 'tcp' as const, host: '127.0.0.1', port };
  t.match(await preflight([bind]), [
    `frontend web: cannot listen on 127.0.0.1:${port}: another process listens there (ss -ltnp 'sport = :${port}' shows it)`,
  ]);
  server.close();
  await once(server, 'close');
  t.same(await preflight([bind, { ...bind, host: '*' }]), []);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  server.close();
});

t.test('a UDP port has nothing to do with the TCP port of the same number', async (t) => {
  // One that the kernel gives to no client, of TCP either.
  const port = await freePort();
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  await once(socket, 'listening');
  const bind = { what: 'frontend dns', protocol: 'udp' as const, host: '127.0.0.1', port };
  t.match(await preflight([bind]), [
    `frontend dns: cannot listen on 127.0.0.1:${port}: another process listens there (ss -lunp 'sport = :${port}' shows it)`,
  ]);
  t.same(await preflight([{ ...bind, protocol: 'tcp' }]), []);
  socket.close();
  await once(socket, 'close');
  t.same(await preflight([bind, { ...bind, host: '*' }]), []);
});

t.test('a port that is shared with reusePort counts as taken', async (t) => {
  const server = createServer().listen({ port: 0, host: '127.0.0.1', reusePort: true });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  t.equal(
    (await preflight([{ what: 'frontend web', protocol: 'tcp' as const, host: '127.0.0.1', port }])).length,
    1,
  );
  server.close();
});

const nonlocal = readFileSync('/proc/sys/net/ipv4/ip_nonlocal_bind', 'utf8').trim() === '1';

t.test('every problem is told', { skip: nonlocal && 'net.ipv4.ip_nonlocal_bind is 1 here' }, async (t) => {
  const problems = await preflight([
    { what: 'frontend a', protocol: 'tcp', host: '203.0.113.7', port: 8080 },
    { what: 'frontend b', protocol: 'udp', host: '198.51.100.7', port: 8081 },
  ]);
  t.match(problems, [
    /^frontend a: cannot listen on 203\.0\.113\.7:8080: this machine does not have the address; .*net\.ipv4\.ip_nonlocal_bind=1$/,
    /^frontend b: cannot listen on 198\.51\.100\.7:8081: /,
  ]);
});

t.test(
  'a port that an outgoing connection holds is told from one that another process listens on',
  async (t) => {
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(client, 'connect');
    const port = client.localPort!;
    const bind = { what: 'frontend web', protocol: 'tcp' as const, host: '127.0.0.1', port };
    const wanted = [
      `frontend web: cannot listen on 127.0.0.1:${port}: a connection that this machine has made holds the port (ss -tanp 'sport = :${port}' shows it); it is free a minute after that ends. Ports to listen on belong into net.ipv4.ip_local_reserved_ports`,
    ];
    t.same(await preflight([bind]), wanted);
    client.end();
    await once(client, 'close');
    server.close();
    t.same(await preflight([bind]), wanted, 'in TIME_WAIT, too');
  },
);

t.test('who holds a port, as the kernel lists it', async (t) => {
  const line = (local: string, state: string) =>
    `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0`;
  const table = (...lines: string[]) => ['  sl  local_address rem_address   st', ...lines].join('\n');
  t.equal(holderOf([table(line('0100007F:1F90', '0A'))], 8080), 'listener');
  t.equal(holderOf([table(line('0100007F:1F90', '01'))], 8080), 'connection');
  t.equal(holderOf([table(line('0100007F:1F90', '06'), line('0100007F:1F91', '0A'))], 8080), 'connection');
  t.equal(
    holderOf([table(line('0100007F:1F90', '06')), table(line('0:1F90', '07'))], 8080),
    'listener',
    'UDP',
  );
  t.equal(holderOf([table(line('0100007F:1F91', '0A'))], 8080), undefined);
  t.equal(holderOf(['', 'nonsense'], 8080), undefined);
});

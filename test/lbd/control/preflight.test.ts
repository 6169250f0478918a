import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
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

import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

t.test('a client in the door of a frontend that becomes one of datagrams is let go', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const config = (mode: string, more: string, health = '') => `
frontends:
  x: { bind: ["127.0.0.1:PORT"], mode: ${mode}, pool: web${more} }
pools:
  web: { ${health}backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`;
  const plane = await Plane.start(t, config('tcp', ', accept_proxy: [127.0.0.0/8]'));
  const client = await RawClient.open(t, plane.port);
  client.write('PROXY TCP4 192.0.2.1 ');
  const udp = config('udp', '', 'health: { type: none }, ').replaceAll('PORT', String(plane.port));
  await plane.apply(parseConfig(udp, '/test.yaml', { cpus: 1 }));
  client.write('192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.equal(await client.end(), '', 'nothing of HTTP is said to it');
});

t.test(
  'a connection that is kept alive asks the backends of the config of now, whatever its mode',
  async (t) => {
    const before = await RawOrigin.start(t, answering(OK));
    const after = await RawOrigin.start(t, answering(OK.replace('ok', 'OK')));
    const config = (mode: string, port: number) => `
frontends: { x: { bind: ["127.0.0.1:PORT"], mode: ${mode}, pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${port}" } } } }
`;
    const plane = await Plane.start(t, config('http', before.port));
    const client = await RawClient.open(t, plane.port);
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.endsWith('ok'));
    const tcp = config('tcp', after.port).replaceAll('PORT', String(plane.port));
    await plane.apply(parseConfig(tcp, '/test.yaml', { cpus: 1 }));
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    t.match(await client.until((text) => /ok$/i.test(text.slice(OK.length))), /OK$/);
  },
);

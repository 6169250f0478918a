import net from 'node:net';
import t, { type Test } from 'tap';
import { OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { always } from './exchange.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** A backend that sends each request to where it came from, `rounds` times at most; then it answers. */
async function roundabout(t: Test, rounds: number) {
  let port = 0;
  let seen = 0;
  const origin = await RawOrigin.start(t, (socket, data) => {
    if (++seen > rounds) {
      socket.write(OK);
      return;
    }
    const again = net.connect(port, '127.0.0.1', () => again.write(data, 'latin1'));
    again.on('data', (answer) => socket.write(answer));
    again.on('error', () => socket.destroy());
    t.teardown(() => again.destroy());
  });
  const plane = await Plane.start(
    t,
    `
access_log: { path: /access.log }
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  port = plane.port;
  return { plane, origin, seen: () => seen };
}

t.test('a request that comes round for ever is answered with 508', async (t) => {
  const { plane, seen } = await roundabout(t, 50);
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  await client.until((text) => text.endsWith('\n'));
  t.match(client.text, /^HTTP\/1\.1 508 Loop Detected\r\n/);
  t.match(client.text, /508 Loop Detected: the request has come round\n$/);
  t.equal(seen(), 2, 'its second turn was told, the third one refused');
  const [line] = await plane.accessLines(1);
  t.match(JSON.parse(line!), { status: 508, cause: 'loop' });
});

t.test('a request that comes back once, as from a gateway of the same name, is no loop', async (t) => {
  const { plane } = await roundabout(t, 1);
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  t.match(await client.until((text) => text.endsWith('ok')), /^HTTP\/1\.1 200 /);
});

t.test("RFC 8586 others' names are passed on, and those that only look alike", async (t) => {
  const origin = await RawOrigin.start(t, always(OK));
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  const asks = async (fields: string) => {
    const client = await RawClient.open(t, plane.port);
    client.write(`GET / HTTP/1.1\r\nHost: a\r\n${fields}Connection: close\r\n\r\n`);
    await client.until((text) => text.endsWith('ok') || text.endsWith('\n'));
    return client.text.slice(9, 12);
  };
  t.equal(await asks('CDN-Loop: other; a="lbd.web", xlbd.web\r\nCDN-Loop: lbd.webx\r\n'), '200');
  t.equal(await asks('CDN-Loop: lbd.web2\r\n'), '200', 'another frontend of this lbd');
  t.match(origin.received.join(''), 'CDN-Loop: other; a="lbd.web", xlbd.web\r\nCDN-Loop: lbd.webx\r\n');
  t.equal(await asks('CDN-Loop: other\r\nCDN-Loop: a, lbd.web;v=1\r\n'), '508');
});

t.test("a client's own request costs nothing: no field is added", async (t) => {
  const origin = await RawOrigin.start(t, always(OK));
  const plane = await Plane.start(
    t,
    `
frontends: { web: { bind: ["127.0.0.1:PORT"], pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
  );
  const client = await RawClient.open(t, plane.port);
  client.write(GET);
  await client.until((text) => text.endsWith('ok'));
  t.notMatch(origin.received.join(''), 'CDN-Loop');
  const proxied = await RawClient.open(t, plane.port);
  proxied.write(GET.replace('Host', 'X-Request-Id: 1\r\nConnection: CDN-Loop\r\nHost'));
  await proxied.until((text) => text.endsWith('ok'));
  t.match(
    origin.received.join(''),
    '\r\nCDN-Loop: lbd.web\r\n',
    'behind a proxy it is said, whatever Connection names',
  );
});

import t from 'tap';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';

t.test('plain requests are sent to https, but for the routes', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  for (const [redirect, status, port] of [
    ['https', '308 Permanent Redirect', ''],
    ['{ to: https, status: 301, port: 8443 }', '301 Moved Permanently', ':8443'],
  ] as const) {
    const plane = await Plane.start(
      t,
      `
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    routes: [{ match: { path: /.well-known/acme-challenge/ }, pool: acme }]
    redirect: ${redirect}
pools: { acme: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } } }
`,
    );
    const client = await RawClient.open(t, plane.port);
    const location = async (request: string) => {
      client.text = '';
      client.write(request);
      const text = await client.until((got) => got.endsWith('\r\n\r\n') || got.endsWith('ok'));
      const [, line, to] =
        /^HTTP\/1\.1 (.*)\r\n(?:Location: (.*)\r\nContent-Length: 0\r\n)?/.exec(text) ?? [];
      return to === undefined ? line : `${line} ${to}`;
    };
    for (const [request, expected] of [
      ['GET /a?b=c HTTP/1.1\r\nHost: Shop.example\r\n\r\n', `${status} https://shop.example${port}/a?b=c`],
      ['GET / HTTP/1.1\r\nHost: shop.example:80\r\n\r\n', `${status} https://shop.example${port}/`],
      ['GET http://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n', `${status} https://b.example${port}/x`],
      ['HEAD /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n', `${status} https://[::1]${port}/x`],
      ['GET /.well-known/acme-challenge/1 HTTP/1.1\r\nHost: a\r\n\r\n', '200 OK'],
    ] as const)
      t.equal(await location(request), expected);
    const upload = await RawClient.open(t, plane.port);
    upload.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
    t.match(await upload.end(), /^HTTP\/1\.1 30\d .*Connection: close/s, 'a body that nobody reads');
    const old = await RawClient.open(t, plane.port);
    old.write('GET / HTTP/1.0\r\n\r\n');
    t.match(await old.end(), /^HTTP\/1\.1 400 /, 'no host, no place to send it to');
  }
});

import t from 'tap';
import { answering, OK, Plane, RawClient, RawOrigin } from './harness.ts';

const yaml = (...ports: number[]) => `
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web }
pools:
  web:
    algorithm: round-robin
    backends:
${ports.map((port, i) => `      s${i + 1}: { address: "127.0.0.1:${port}" }`).join('\n')}
`;

t.test('a request goes to the backend and its response back, kept alive on both sides', async (t) => {
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(t, yaml(origin.port));
  const client = await RawClient.open(t, plane.port);
  for (let i = 1; i <= 3; i++) {
    client.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until((text) => text.length === OK.length * i);
  }
  t.equal(client.text, OK.repeat(3));
  t.equal(origin.sockets.length, 1, 'one backend connection served all');
  t.match(
    origin.received[0],
    /^GET \/x HTTP\/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n/,
  );
  t.equal(plane.active, 0);
});

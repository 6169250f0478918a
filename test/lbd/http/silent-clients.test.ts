import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Plane, RawClient, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from '../tls/secure-client.ts';

const GET = 'GET /sse HTTP/1.1\r\nHost: a\r\n\r\n';
const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n';
const EVENT = 'data: 1\n\n';

/** A beginning of an answer in each framing, and its end. */
const ANSWERS = {
  chunked: [`${HEAD}Transfer-Encoding: chunked\r\n\r\n9\r\n${EVENT}\r\n`, '0\r\n\r\n'],
  length: [`${HEAD}Content-Length: 18\r\n\r\n${EVENT}`, EVENT],
  'until close': [`${HEAD}\r\n${EVENT}`, ''],
} as const;

/** An access log shows what a request was taken for. */
function yaml(port: number, tls: string): string {
  return `
access_log: { stdout: true }
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, ${tls} }
pools:
  web: { health: { type: none }, backends: { s1: { address: "127.0.0.1:${port}" } } }
`;
}

interface Scene {
  readonly plane: Plane;
  readonly origin: RawOrigin;
}

async function start(t: Test, answer: string, tls = ''): Promise<Scene> {
  const origin = await RawOrigin.start(t, (socket) => socket.write(answer));
  return { origin, plane: await Plane.start(t, yaml(origin.port, tls)) };
}

/** The backend hears of it, and nothing counts as under way. */
async function toldOf(t: Test, { origin, plane }: Scene): Promise<void> {
  await origin.until(() => /<(reset|close)>/.test(origin.received[0]!));
  while (plane.active > 0) await sleep(5);
  t.match(await plane.accessLines(), [/"cause":"client_gone"/]);
  t.equal(plane.control.backendCounter(plane.slot('web/s1'), 'errors'), 0);
}

t.test(
  'a client that closes while its backend is silent: the backend is told, not after timeouts.idle',
  async (t) => {
    for (const [framing, [begins]] of Object.entries(ANSWERS))
      await t.test(framing, async (t) => {
        const scene = await start(t, begins);
        const client = await RawClient.open(t, scene.plane.port);
        client.write(GET);
        await client.until((text) => text.includes('data: 1'));
        client.socket.destroy();
        await toldOf(t, scene);
      });
    for (const how of ['end', 'destroy'] as const)
      await t.test(`over TLS: ${how}`, async (t) => {
        const files = new Certificates(t);
        const scene = await start(
          t,
          ANSWERS.chunked[0],
          `tls: { certificates: [${files.server('a.example').files}] }`,
        );
        const client = await SecureClient.open(t, scene.plane.port, { servername: 'a.example' });
        client.socket.write(GET);
        await client.until((text) => text.includes('data: 1'));
        client.socket[how]();
        await toldOf(t, scene);
      });
  },
);

t.test('a client that closes within its request, whose answer has begun: the backend is told', async (t) => {
  const scene = await start(t, ANSWERS.chunked[0]);
  const client = await RawClient.open(t, scene.plane.port);
  client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx');
  await client.until((text) => text.includes('data: 1'));
  client.socket.destroy();
  await toldOf(t, scene);
});

t.test('a client that only ended its side gets the answer that it waits for', async (t) => {
  for (const [framing, [begins, ends]] of Object.entries(ANSWERS))
    await t.test(framing, async (t) => {
      const scene = await start(t, '');
      const client = await RawClient.open(t, scene.plane.port);
      client.socket.end(GET);
      const { origin } = scene;
      await origin.until(() => origin.received[0]?.includes('\r\n\r\n') === true);
      await sleep(300);
      origin.sockets[0]!.write(begins);
      await sleep(300);
      origin.sockets[0]!.end(ends);
      t.match(await client.end(), /data: 1/);
      t.equal(client.closed === 'reset', false);
      t.match(await scene.plane.accessLines(), [/"status":200/]);
      t.ok(framing === 'until close' || client.text.endsWith(ends));
    });
});

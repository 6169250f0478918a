import t, { type Test } from 'tap';
import { parseConfig } from '../../../../common/config.ts';
import {
  data,
  encode,
  FLAG,
  FRAME,
  frame,
  GET,
  HOLD,
  type Http2Client,
  headers,
  ping,
  Served,
} from './harness.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const MOST = 2 ** 31 - 1;

/** One request is under way, and something has told the connection to go. */
async function told(t: Test, tell: (served: Served) => void) {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, HOLD));
  await served.origin.until(() => served.got.includes('/hold'));
  tell(served);
  await client.until(() => client.goAways.length > 0);
  t.same(client.goAways, [[MOST, 'noError']], 'no stream is excluded: the client may have sent some already');
  return { served, client };
}

/** The PING behind the first GOAWAY. */
function pingOf(client: Http2Client): string {
  return client.frames
    .find(({ type, flags }) => type === FRAME.ping && flags === 0)!
    .payload.toString('latin1');
}

const ways: [name: string, tell: (served: Served) => void][] = [
  ['a stop', ({ plane }) => void plane.plane.stop(60_000)],
  [
    'a reload that takes the frontend out',
    ({ plane }) => {
      const other = `
frontends: { other: { bind: ["127.0.0.1:0"], pool: web } }
pools: { web: { drain_timeout: 60s, backends: { s1: { address: "127.0.0.1:1" } } } }
`.replace(':0"', `:${plane.port === 65_535 ? 1024 : plane.port + 1}"`);
      void plane.apply(parseConfig(other, '/test.yaml', { cpus: 1 }));
    },
  ],
];

for (const [name, tell] of ways)
  t.test(`RFC 9113 §6.8: ${name}: what is under way is answered, then the connection ends`, async (t) => {
    const { served, client } = await told(t, tell);
    client.write(headers(3, HOLD), ping(pingOf(client), FLAG.ack));
    await client.until(() => client.goAways.length > 1);
    t.same(client.goAways[1], [3, 'noError'], 'the last one that came before the client had heard of it');
    client.write(headers(5, GET));
    for (const socket of served.origin.sockets) socket.write(OK);
    await served.origin.until(() => served.got.split('/hold').length === 3);
    for (const socket of served.origin.sockets) if (socket.writable) socket.write(OK);
    t.match(await client.answered(1), { status: 200, body: 'ok' });
    t.match(await client.answered(3), { status: 200, body: 'ok' });
    await client.end();
    t.match(client.answer(5), { status: 0 }, 'one that came later is the next connection’s');
    t.notOk(served.got.includes('GET / '));
  });

t.test('a client that does not return the PING is not waited for', async (t) => {
  const { served, client } = await told(t, ways[0]![1]);
  await client.until(() => client.goAways.length > 1);
  t.same(client.goAways[1], [1, 'noError']);
  served.origin.sockets[0]!.write(OK);
  t.match(await client.answered(1), { status: 200 });
  await client.end();
});

t.test(
  'a planned switchover: who is at another address than the VIPs is told with the next request',
  async (t) => {
    const served = await Served.start(t);
    const client = await served.open();
    client.write(headers(1, GET));
    await client.answered(1);
    served.plane.plane.retire({ main: 'close' }, () => {});
    await client.settle();
    t.same(client.goAways, []);
    client.write(headers(3, HOLD));
    await client.until(() => client.goAways.length > 0);
    t.same(client.goAways, [[MOST, 'noError']]);
    client.write(ping(pingOf(client), FLAG.ack));
    await client.until(() => client.goAways.length > 1);
    t.same(client.goAways[1], [3, 'noError']);
    served.origin.sockets[0]!.write(OK);
    t.match(await client.answered(3), { status: 200 });
    await client.end();
    served.plane.plane.retire({}, () => {});
  },
);

t.test(
  'a head that is complete only when its stream is excluded is not looked at, but decoded',
  async (t) => {
    const { served, client } = await told(t, ways[0]![1]);
    const block = encode(GET);
    client.write(frame(FRAME.headers, FLAG.endStream, 3, block.subarray(0, 9)));
    await client.until(() => client.goAways.length > 1);
    t.same(client.goAways[1], [1, 'noError']);
    client.write(frame(FRAME.continuation, FLAG.endHeaders, 3, block.subarray(9)), data(3, 'x'));
    await client.settle();
    served.origin.sockets[0]!.write(OK);
    t.match(await client.answered(1), { status: 200 });
    await client.end();
    t.match(client.answer(3), { status: 0, reset: undefined });
    t.equal(client.goAway, 'noError');
  },
);

t.test('a connection without a request ends at once when it is to go', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  void served.plane.plane.stop(60_000);
  await client.end();
  t.same(client.goAways.at(-1), [0, 'noError']);
});

t.test('keep_alive ends a connection without a request, and no other', async (t) => {
  const served = await Served.start(t, { timeouts: 'keep_alive: 300ms' });
  const client = await served.open();
  client.write(headers(1, HOLD));
  const idle = await served.open();
  await idle.end();
  t.same(idle.goAways, [[0, 'noError']]);
  t.equal(client.goAway, undefined);
  served.origin.sockets[0]!.write(OK);
  t.match(await client.answered(1), { status: 200 });
  await client.end();
  t.same(client.goAways, [[1, 'noError']]);
});

t.test('a cut tells each stream, and ends the connection', async (t) => {
  const served = await Served.start(t);
  const client = await served.open();
  client.write(headers(1, HOLD), headers(3, HOLD), data(5, ''));
  await client.end();
  t.equal(client.goAway, 'protocol', 'a rule that is broken ends all of it');
  const other = await served.open();
  other.write(headers(1, HOLD), headers(3, HOLD));
  await served.origin.until(() => served.got.split('/hold').length >= 3);
  void served.plane.plane.stop(0);
  await other.end();
  t.match([other.answer(1), other.answer(3)], [{ reset: 'cancel' }, { reset: 'cancel' }]);
});

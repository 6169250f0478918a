import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { Turnstile, turnstileFilter } from '../../common/turnstile.ts';
import { until } from '../../scripts/lab/wait.ts';
import { runFilter } from './filter-machine.ts';

/** One that lets nothing through that depends on chance, and one that lets all. */
const [UNLUCKY, LUCKY] = [1, 0];
const FLAGS_AT = 13;
const [SYN, ACK] = [0x02, 0x10];

/** A segment with these flags from an address. */
function segment(flags: number, from: readonly number[]) {
  const data = Buffer.alloc(20);
  data[FLAGS_AT] = flags;
  const ip = Buffer.alloc(from.length === 4 ? 20 : 40);
  Buffer.from(from).copy(ip, from.length === 4 ? 12 : 8);
  return { data, ip };
}

async function listening(t: Test): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

/** Settles when a connection is open. */
async function join(t: Test, port: number, from = '127.0.0.1') {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

t.test('only the beginnings of connections are kept out, and not all of them', async (t) => {
  const stranger = [192, 0, 2, 7];
  const program = turnstileFilter(undefined);
  t.notOk(runFilter(program, segment(SYN, stranger), UNLUCKY));
  t.ok(runFilter(program, segment(SYN, stranger), LUCKY));
  t.ok(runFilter(program, segment(ACK, stranger), UNLUCKY), 'what is open goes on');
  t.ok(runFilter(program, segment(SYN | ACK, stranger), UNLUCKY));
});

t.test('one address is never kept out', async (t) => {
  const peer4 = turnstileFilter('198.51.100.2');
  t.ok(runFilter(peer4, segment(SYN, [198, 51, 100, 2]), UNLUCKY));
  t.notOk(runFilter(peer4, segment(SYN, [198, 51, 100, 3]), UNLUCKY));
  const peer6 = turnstileFilter('fd84::12');
  const address = (last: number) => [0xfd, 0x84, ...Array.from({ length: 13 }, () => 0), last];
  t.ok(runFilter(peer6, segment(SYN, address(0x12)), UNLUCKY));
  t.notOk(runFilter(peer6, segment(SYN, address(0x13)), UNLUCKY));
});

t.test('a flood makes it narrow, also where nobody is let in, and it opens again', async (t) => {
  const { server, port } = await listening(t);
  server.maxConnections = 1;
  const troubles: (string | undefined)[] = [];
  const turnstile = new Turnstile(server, {
    perSecond: 1,
    burst: 3,
    onNarrow: (trouble) => troubles.push(trouble),
  });
  const first = await join(t, port);
  await Promise.all([join(t, port), join(t, port)]);
  const dropped = once(server, 'drop');
  await join(t, port);
  await dropped;
  while (!turnstile.narrow) await once(server, 'drop');
  t.same(troubles, [undefined]);
  first.write('is read');
  await until('it is open again', () => !turnstile.narrow);
  await join(t, port);
  t.pass('the next one comes in');
});

t.test('the exempt address has room of its own, and not without a limit', async (t) => {
  const { server, port } = await listening(t);
  let narrow = 0;
  new Turnstile(server, { perSecond: 0.001, burst: 3, exempt: '127.0.0.2', onNarrow: () => narrow++ });
  const come = async (from: string) => {
    const accepted = once(server, 'connection');
    await join(t, port, from);
    await accepted;
  };
  for (let i = 0; i < 4; i++) await come('127.0.0.1');
  t.equal(narrow, 1, 'the others are too many');
  for (let i = 0; i < 3; i++) await come('127.0.0.2');
  t.equal(narrow, 1);
  await come('127.0.0.2');
  t.equal(narrow, 2, 'it is kept out as well now');
});

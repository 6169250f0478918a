import { createSocket, type Socket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { descriptorOfDatagrams } from '../../common/datagram-descriptor.ts';
import { assemble, type FilterLine, FROM_IP, filterSocket } from '../../common/socket-filter.ts';
import { runFilter } from './filter-machine.ts';

const UDP_HEAD = 8;
/** Takes what begins with "y". */
const YES: readonly FilterLine[] = [
  { load: 'byte', at: UDP_HEAD },
  { is: 'y'.charCodeAt(0), yes: 'mine' },
  'drop',
  { label: 'mine' },
  'take',
];

async function bound(t: Test): Promise<Socket> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

t.test('the kernel drops what a program does not take, until it is taken away', async (t) => {
  const [here, there] = [await bound(t), await bound(t)];
  const got: string[] = [];
  const bus = new EventEmitter();
  here.on('message', (data) => {
    got.push(data.toString());
    bus.emit('got');
  });
  const say = (text: string) => there.send(text, here.address().port, '127.0.0.1');
  t.equal(filterSocket(descriptorOfDatagrams(here), assemble(YES)), undefined);
  for (const text of ['no 1', 'yes 1', '', 'no 2', 'yes 2']) say(text);
  while (got.length < 2) await once(bus, 'got');
  t.same(got, ['yes 1', 'yes 2']);
  t.equal(filterSocket(descriptorOfDatagrams(here), undefined), undefined);
  say('no 3');
  while (got.length < 3) await once(bus, 'got');
  t.same(got.at(-1), 'no 3');
  t.equal(filterSocket(descriptorOfDatagrams(here), undefined), undefined, 'there is none any more');
});

t.test('by the source address, in the header of IP', async (t) => {
  const here = await bound(t);
  const mine = assemble([
    { load: 'word', at: FROM_IP + 12 },
    { is: 0x7f000001, no: 'another' },
    'take',
    { label: 'another' },
    'drop',
  ]);
  t.equal(filterSocket(descriptorOfDatagrams(here), mine), undefined);
  const strange = createSocket('udp4').bind(0, '127.0.0.2');
  t.teardown(() => strange.close());
  await once(strange, 'listening');
  const there = await bound(t);
  strange.send('from another', here.address().port, '127.0.0.1');
  const heard = once(here, 'message');
  there.send('from here', here.address().port, '127.0.0.1');
  t.equal(String((await heard)[0]), 'from here');
});

t.test('the beginnings of connections are dropped, what is open goes on', async (t) => {
  const server = createServer((socket) => socket.pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const before = connect(port, '127.0.0.1');
  t.teardown(() => before.destroy());
  await once(before, 'connect');
  const fd = (server as unknown as { _handle: { fd: number } })._handle.fd;
  t.equal(filterSocket(fd, assemble(['drop'])), undefined);
  const later = connect(port, '127.0.0.1');
  t.teardown(() => later.destroy());
  const opened = once(later, 'connect').then(() => 'later');
  before.write('still here');
  t.equal(await Promise.race([opened, once(before, 'data').then(([data]) => String(data))]), 'still here');
  t.equal(filterSocket(fd, undefined), undefined);
  t.equal(await opened, 'later', 'a client tries again by itself');
});

t.test('what cannot be', async (t) => {
  t.match(filterSocket(-1, undefined), /descriptor/);
  t.match(filterSocket(0xffff, assemble(['take'])), /EBADF/);
  t.throws(() => assemble([{ goto: 'nowhere' }]), { message: 'no way to "nowhere" in a filter' });
  t.throws(() => assemble([{ label: 'back' }, 'take', { goto: 'back' }]), RangeError);
  t.throws(() => assemble([{ goto: 'two' }, { label: 'two' }, 'take', { label: 'two' }, 'drop']), {
    message: '"two" is in two places of a filter',
  });
  const far: FilterLine[] = Array.from({ length: 300 }, () => 'take');
  t.throws(() => assemble([{ is: 1, yes: 'far' }, ...far, { label: 'far' }, 'take']), RangeError);
});

t.test('the machine of the tests does as the kernel does', async (t) => {
  const packet = (text: string) => ({ data: Buffer.concat([Buffer.alloc(UDP_HEAD), Buffer.from(text)]) });
  t.equal(runFilter(assemble(YES), packet('yes')), true);
  t.equal(runFilter(assemble(YES), packet('no')), false);
  t.equal(runFilter(assemble(YES), packet('')), false);
});

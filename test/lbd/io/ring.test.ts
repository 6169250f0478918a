import { once } from 'node:events';
import net from 'node:net';
import { constants } from 'node:os';
import t, { type Test } from 'tap';
import { descriptorOf } from '../../../common/descriptors.ts';
import { type Libc, libc } from '../../../common/libc.ts';
import { RING_ENTRIES, Ring } from '../../../lbd/io/ring.ts';
import { dialled } from './dialled.ts';

const { errno } = constants;

/** Descriptors of both ends of a connection from which Node does not read. */
async function ends(t: Test): Promise<[here: number, there: number]> {
  const { socket, peer } = await dialled(t, (port) => net.connect(port, '127.0.0.1'));
  for (const end of [socket, peer]) end.on('error', () => {}).pause();
  return [descriptorOf(socket), descriptorOf(peer)];
}

/** A place in memory with this text. */
function place(text: string): { bytes: Buffer; address: number } {
  const bytes = Buffer.from(new ArrayBuffer(Math.max(1, text.length)));
  bytes.write(text, 'latin1');
  return { bytes, address: Number(libc().addressOf(bytes)) };
}

t.test('sends and receives, each with its own result, again and again', async (t) => {
  const [sends, receives] = [new Ring(), new Ring()];
  const pairs = await Promise.all(Array.from({ length: RING_ENTRIES }, () => ends(t)));
  // More than once around the rings, in steps that do not divide their size.
  for (const count of [1, 5, RING_ENTRIES, 63, 7, RING_ENTRIES, 50, 2]) {
    const some = pairs.slice(0, count);
    const texts = some.map((_, i) => `${count}/${i}${'.'.repeat(i)}`);
    const sent = texts.map(place);
    for (const [i, [here]] of some.entries()) sends.addSend(here, sent[i]!.address, texts[i]!.length);
    t.equal(sends.count, count);
    sends.submit();
    t.equal(sends.count, 0);
    const lengths = texts.map(({ length }) => length);
    t.same([...sends.results.subarray(0, count)], lengths);
    const rooms = some.map(() => place(' '.repeat(100)));
    for (const [i, [, there]] of some.entries()) receives.addReceive(there, rooms[i]!.address, 100);
    receives.submit();
    t.same([...receives.results.subarray(0, count)], lengths);
    t.same(
      rooms.map(({ bytes }, i) => bytes.latin1Slice(0, lengths[i]!)),
      texts,
    );
  }
  for (const ring of [sends, receives]) ring.close();
});

t.test('what fails does not stop the others, and nothing waits', async (t) => {
  const ring = new Ring();
  const [[here, there], [empty]] = [await ends(t), await ends(t)];
  const text = place('text');
  ring.addSend(here, text.address, 4);
  ring.addSend(-1, text.address, 4);
  ring.addReceive(empty, text.address, 4);
  ring.addSend(here, 0, 4);
  ring.addReceive(there, text.address, 4);
  ring.submit();
  t.same([...ring.results.subarray(0, 5)], [4, -errno.EBADF, -errno.EAGAIN, -errno.EFAULT, 4]);
  ring.close();
});

t.test('what the kernel has no room for is told', async (t) => {
  const ring = new Ring();
  const [here] = await ends(t);
  const { address } = place('x'.repeat(1 << 20));
  const sent: number[] = [];
  for (let left = 100; left > 0 && !sent.includes(-errno.EAGAIN); left--) {
    ring.addSend(here, address, 1 << 20);
    ring.submit();
    sent.push(ring.results[0]!);
  }
  t.ok(
    sent.some((bytes) => bytes > 0 && bytes < 1 << 20),
    'a part',
  );
  t.equal(sent.at(-1), -errno.EAGAIN);
  ring.close();
});

t.test('an end and a reset are told as by recv', async (t) => {
  const ring = new Ring();
  const room = place('    ');
  for (const [how, wanted] of [
    ['end', 0],
    ['resetAndDestroy', -errno.ECONNRESET],
  ] as const) {
    const { socket, peer } = await dialled(t, (port) => net.connect(port, '127.0.0.1'));
    socket.on('error', () => {}).pause();
    const closed = once(peer, how === 'end' ? 'finish' : 'close');
    peer[how]();
    await closed;
    ring.addReceive(descriptorOf(socket), room.address, 4);
    ring.submit();
    t.equal(ring.results[0], wanted, how);
  }
  ring.close();
});

t.test('what the kernel did not take is not done later', async (t) => {
  const c = libc();
  let refuses = false;
  const enter = 426n;
  const { pointer } = c.syscall;
  const syscall: Libc['syscall'] = Object.assign(
    (...args: Parameters<Libc['syscall']>) => (refuses && args[0] === enter ? -1 : c.syscall(...args)),
    { pointer },
  );
  const ring = new Ring({ ...c, syscall });
  const [here, there] = await ends(t);
  const [first, second] = [place('first'), place('second')];
  refuses = true;
  ring.addSend(here, first.address, 5);
  ring.submit();
  t.equal(ring.results[0], -errno.EAGAIN);
  refuses = false;
  ring.addSend(here, second.address, 6);
  ring.submit();
  t.equal(ring.results[0], 6);
  const room = place(' '.repeat(20));
  ring.addReceive(there, room.address, 20);
  ring.submit();
  t.equal(room.bytes.latin1Slice(0, ring.results[0]!), 'second');
  ring.close();
});

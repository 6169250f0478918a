import fc from 'fast-check';
import t from 'tap';
import { FLAG, MESSAGE } from '../../../lbd/flow/conntrack-message.ts';
import { RequestBatch } from '../../../lbd/flow/conntrack-request.ts';
import { eachMessage, NetlinkError, openConntrack } from '../../../lbd/flow/netlink-socket.ts';

/** A message with this payload, padded as the kernel does. */
function message(payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc((16 + payload.length + 3) & ~3);
  bytes.writeUInt32LE(16 + payload.length);
  bytes.set(payload, 16);
  return bytes;
}

t.test('messages of a datagram come out as they went in', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 }), fc.nat(64), (all, from) => {
      const bytes = Buffer.concat([Buffer.alloc(from), ...all.map(message), Buffer.alloc(20)]);
      const found: string[] = [];
      eachMessage(bytes, from, bytes.length - 20, (_bytes, at, end) =>
        found.push(bytes.subarray(at + 16, end).toString('hex')),
      );
      return JSON.stringify(found) === JSON.stringify(all.map((it) => Buffer.from(it).toString('hex')));
    }),
  );
});

t.test('an impossible length is refused', async (t) => {
  for (const length of [0, 15, 33, 0xffffffff]) {
    const bytes = Buffer.alloc(40);
    bytes.writeUInt32LE(length);
    t.throws(() => eachMessage(bytes, 0, 32, () => t.fail('no message')), NetlinkError, `${length}`);
  }
  t.throws(() => eachMessage(Buffer.alloc(40), 0, 7, () => {}), NetlinkError, 'less than a head');
});

t.test('the kernel answers, or says what is missing', async (t) => {
  if (process.getuid?.() !== 0) {
    t.throws(() => openConntrack(), { code: 'PERMISSION', message: /CAP_NET_ADMIN/ });
    return;
  }
  const socket = openConntrack();
  const batch = new RequestBatch(2);
  batch.nothing(7);
  batch.nothing(8);
  socket.write(batch.take());
  const found: string[] = [];
  while (
    socket.read((bytes, at, end) => {
      const [type, flags] = [bytes.readUInt16LE(at + 4), bytes.readUInt16LE(at + 6)];
      if (type !== MESSAGE.error) return;
      found.push(
        `${bytes.readUInt32LE(at + 8)}: ${bytes.readInt32LE(at + 16)}, ${end - at}, ${flags & FLAG.request}`,
      );
    })
  );
  t.strictSame(found, ['8: 0, 36, 0'], 'once, to the last of them');
  socket.close();
  t.equal(
    socket.read(() => t.fail('closed')),
    false,
  );
  t.doesNotThrow(() => socket.write(Buffer.alloc(16)), 'it is closed, nobody else has its number');
});

import fc from 'fast-check';
import t from 'tap';
import { NetlinkError, NetlinkStream } from '../../../lbd/flow/netlink-stream.ts';

/** A message with this payload, padded as the kernel does. */
function message(payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc((16 + payload.length + 3) & ~3);
  bytes.writeUInt32LE(16 + payload.length);
  bytes.set(payload, 16);
  return bytes;
}

function read(stream: NetlinkStream, pieces: readonly Buffer[]): string[] {
  const found: string[] = [];
  for (const piece of pieces)
    stream.push(piece, (bytes, at, end) => found.push(bytes.subarray(at + 16, end).toString('hex')));
  return found;
}

t.test('messages come out as they went in, whatever the pieces', async () => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 });
  fc.assert(
    fc.property(payloads, fc.array(fc.nat(4000), { maxLength: 12 }), (all, places) => {
      const bytes = Buffer.concat(all.map(message));
      const cuts = [0, ...places.map((it) => it % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
      const pieces = cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end));
      const expected = all.map((it) => Buffer.from(it).toString('hex'));
      return JSON.stringify(read(new NetlinkStream(), pieces)) === JSON.stringify(expected);
    }),
  );
});

t.test('an impossible length ends the stream', async (t) => {
  for (const length of [0, 15, 65536, 0xffffffff]) {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32LE(length);
    t.throws(() => read(new NetlinkStream(), [bytes]), NetlinkError, `${length}`);
    t.throws(() => read(new NetlinkStream(), [bytes.subarray(0, 7), bytes.subarray(7)]), NetlinkError);
  }
});

import fc from 'fast-check';
import t from 'tap';
import { HexReader, writeHex } from '../../ha-agent/hex.ts';

const bytes = fc.uint8Array({ maxLength: 40 });

t.test('digits are written as the bytes that they stand for, and read again', (t) => {
  const reader = new HexReader();
  fc.assert(
    fc.property(bytes, fc.nat({ max: 5 }), (value, at) => {
      const digits = Buffer.from(value).toString('hex');
      const out = Buffer.alloc(at + value.length + 1, 0xee);
      t.equal(writeHex(out, at, digits), at + value.length);
      t.same(out, Buffer.concat([Buffer.alloc(at, 0xee), value, Buffer.alloc(1, 0xee)]));
      t.equal(reader.read(out, at, value.length), digits);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test(
  'what was read before does not change with the bytes that it came from, nor with others that follow',
  (t) => {
    const reader = new HexReader();
    const data = Buffer.from('0123456789abcdef', 'hex');
    const first = reader.read(data, 0, 8);
    data[0] = 0xff;
    t.equal(reader.read(data, 0, 8), 'ff23456789abcdef');
    t.equal(first, '0123456789abcdef');
    for (let i = 0; i < 1_000; i++) {
      data.writeUInt32BE(i * 7_919, 2);
      t.equal(reader.read(data, 0, 8), data.toString('hex'));
    }
    t.end();
  },
);

t.test('equal beginnings of another length are another text', (t) => {
  const reader = new HexReader();
  const data = Buffer.alloc(8);
  for (const length of [8, 0, 1, 4, 8]) t.equal(reader.read(data, 0, length), '00'.repeat(length));
  t.end();
});

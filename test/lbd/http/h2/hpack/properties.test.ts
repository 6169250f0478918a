import fc from 'fast-check';
import t from 'tap';
import { type FieldSink, HpackDecoder } from '../../../../../lbd/http/h2/hpack/decoder.ts';
import { writeField } from '../../../../../lbd/http/h2/hpack/encoder.ts';
import {
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
  mostDecoded,
} from '../../../../../lbd/http/h2/hpack/huffman.ts';
import { Message } from '../../../../../lbd/http/message.ts';
import { Collected, decode } from './collected.ts';
import { ModelEncoder } from './model.ts';

const TABLE_SIZES: readonly number[] = [0, 31, 100, 500, 4096, 8192];

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

t.test('any bytes in Huffman code come out as they were, in the room that they are said to need', (t) => {
  fc.assert(
    fc.property(bytes(300), fc.nat(9), (text, at) => {
      const length = huffmanLength(text, 0, text.length);
      const code = Buffer.alloc(at + length + 1, 0xee);
      if (encodeHuffman(text, 0, text.length, code, at) !== at + length) return false;
      const decoded = Buffer.alloc(mostDecoded(length));
      const end = decodeHuffman(code, at, at + length, decoded, 0);
      return code[at + length] === 0xee && decoded.subarray(0, end).equals(text);
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('any fields that the encoder writes are what the decoder reads', (t) => {
  const name = fc.oneof(
    fc.constantFrom('Content-Type', 'vary', 'SET-COOKIE', ':path', 'X-A'),
    fc.string({ minLength: 1, maxLength: 300, unit: 'binary-ascii' }),
  );
  const field = fc.record({
    name,
    value: fc.string({ maxLength: 400, unit: 'binary-ascii' }),
    sensitive: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(field, { maxLength: 20 }), (fields) => {
      const out = new Message(64);
      for (const { name, value, sensitive } of fields) {
        const line = Buffer.from(name + value, 'latin1');
        writeField(out, line, 0, name.length, line, name.length, line.length, sensitive);
      }
      const collected = new Collected();
      const fault = new HpackDecoder().decode(out.bytes, 0, out.length, collected);
      const lower = fields.map(({ name, value, sensitive }) => [name.toLowerCase(), value, sensitive]);
      const got = collected.fields.map(([name, value]) => [name, value]);
      return (
        fault === '' &&
        JSON.stringify(got) === JSON.stringify(lower.map(([name, value]) => [name, value])) &&
        collected.sensitive.length === fields.filter(({ sensitive }) => sensitive).length
      );
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('the dynamic table holds what a simple one holds, through evictions and changes of its size', (t) => {
  const text = (maxLength: number) => fc.string({ maxLength, unit: 'binary-ascii' });
  const wish = fc.record({
    name: fc.oneof(fc.constantFrom('a', 'b', 'cookie', 'x-trace', ':path'), text(80)),
    value: fc.oneof(fc.constantFrom('', '1', '2', 'x'.repeat(200)), text(120), text(3000)),
    way: fc.constantFrom('indexed', 'indexed', 'kept', 'plain', 'sensitive'),
    spelt: fc.boolean(),
    huffman: fc.boolean(),
  });
  const block = fc.record({
    sizes: fc.oneof(
      { weight: 4, arbitrary: fc.constant<number[]>([]) },
      { weight: 1, arbitrary: fc.array(fc.constantFrom(...TABLE_SIZES), { maxLength: 2 }) },
    ),
    wishes: fc.array(wish, { maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 12 }), (blocks) => {
      const encoder = new ModelEncoder(4096);
      const decoder = new HpackDecoder(8192);
      for (const { sizes, wishes } of blocks) {
        const parts = sizes.map((size) => encoder.resize(size));
        for (const one of wishes) parts.push(encoder.write(one));
        const want = wishes.map(({ name, value }) => [name, value]);
        if (JSON.stringify(decode(decoder, Buffer.concat(parts))) !== JSON.stringify(want)) return false;
        const all = Buffer.concat(
          encoder.table.map((_, i) => encoder.write({ ...at(encoder, i), way: 'indexed' })),
        );
        if (JSON.stringify(decode(decoder, all)) !== JSON.stringify(encoder.table)) return false;
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.end();
});

function at(encoder: ModelEncoder, i: number) {
  const [name, value] = encoder.table[i]!;
  return { name, value, spelt: false, huffman: false };
}

t.test('any bytes are decoded or refused, in bounded work, and never thrown over', (t) => {
  /** Looks at what it gets as a sink would. */
  class Bounds implements FieldSink {
    calls = 0;
    ok = true;

    field(
      name: Buffer,
      nameStart: number,
      nameEnd: number,
      value: Buffer,
      valueStart: number,
      valueEnd: number,
    ): number {
      this.calls++;
      this.ok &&= nameStart >= 0 && nameStart <= nameEnd && nameEnd <= name.length;
      this.ok &&= valueStart >= 0 && valueStart <= valueEnd && valueEnd <= value.length;
      return 0;
    }
  }
  // Bytes that begin fields, more often than chance has them.
  const byte = fc.oneof(
    fc.nat(255),
    fc.constantFrom(0x00, 0x01, 0x40, 0x41, 0x7e, 0x81, 0x82, 0xbe, 0xbf, 0x20),
  );
  const block = fc.array(byte, { maxLength: 200 }).map((array) => Buffer.from(array));
  let faults = 0;
  let wholes = 0;
  fc.assert(
    fc.property(fc.array(block, { maxLength: 8 }), (blocks) => {
      const decoder = new HpackDecoder();
      for (const bytes of blocks) {
        const bounds = new Bounds();
        const fault = decoder.decode(bytes, 0, bytes.length, bounds);
        if (!bounds.ok || bounds.calls > bytes.length) return false;
        if (fault !== '') {
          faults++;
          return true;
        }
        wholes++;
      }
      return true;
    }),
    { numRuns: 5000 },
  );
  t.ok(faults > 100 && wholes > 100, `${faults} were refused, ${wholes} decoded`);
  t.end();
});

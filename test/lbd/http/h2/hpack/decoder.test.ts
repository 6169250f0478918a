import t from 'tap';
import { HpackDecoder } from '../../../../../lbd/http/h2/hpack/decoder.ts';
import { Collected, decode, literal } from './collected.ts';

/** First bytes of literals. */
const KEPT = 0x40;
const NEVER_INDEXED = 0x10;

/** What a new decoder makes of a block. */
const decoded = (hex: string) => decode(new HpackDecoder(), hex);

t.test('§2.3.3 an index beyond both tables is an error, in whatever field', (t) => {
  for (const block of ['be', 'ff00', 'ff80808001', '7e0161', '0f2f0161', '1f2f0161'])
    t.equal(decoded(block), 'index beyond the table', block);
  const decoder = new HpackDecoder();
  decode(decoder, literal('a', 'b', KEPT));
  t.strictSame(decode(decoder, 'be'), [['a', 'b']]);
  t.equal(decode(decoder, 'bf'), 'index beyond the table');
  t.end();
});

t.test('§6.1 index 0 is an error', (t) => {
  t.equal(decoded('80'), 'index 0');
  t.equal(decoded('8280'), 'index 0', 'behind a field');
  t.end();
});

t.test('§5.1 numbers: as many octets as 28 bits take', (t) => {
  t.equal(decoded('ffffffff7f'), 'index beyond the table', '2^28 + 126');
  t.equal(decoded('ffffffffff00'), 'integer too large', 'an octet more');
  t.equal(decoded('ff8080808000'), 'integer too large', 'one that says nothing');
  t.equal(decoded('ffffffffffffffffff7f'), 'integer too large');
  t.equal(decoded('007fffffffff0f'), 'integer too large', 'length of a name');
  t.equal(decoded('0001617fffffffff0f'), 'integer too large', 'length of a value');
  t.equal(decoded('0fffffffff0f'), 'integer too large', 'index of a name');
  t.equal(decoded('3fffffffff0f'), 'integer too large', 'table size');
  t.equal(decoded('3fffffff7f'), 'table size above the setting');
  const long = 'x'.repeat(1337 + 127);
  const block = Buffer.concat([Buffer.from('0001617fb90a', 'hex'), Buffer.from(long)]);
  t.strictSame(decode(new HpackDecoder(), block), [['a', long]], 'C.1.2 1337 behind a prefix');
  t.end();
});

t.test('§5.2 a string longer than its header block is an error', (t) => {
  for (const block of ['0002', '000261', '00016102', '000161026b', '0482', '048263', '40046162', '007f8001'])
    t.equal(decoded(block), 'string longer than its header block', block);
  t.end();
});

t.test('§2.1 a block that ends within a field is an error, wherever it does', (t) => {
  for (const block of [
    'ff',
    'ff80',
    '00',
    '000161',
    '04',
    '0f',
    '0fff',
    '40',
    '41',
    '7f',
    '10',
    '1f80',
    '3f',
    '3fff',
    '0001617f',
  ])
    t.equal(decoded(block), 'header block ends within a field', block);
  t.strictSame(decoded(''), [], 'an empty one is none of them');
  t.end();
});

t.test('§5.2 Huffman code: EOS, padding of more than 7 bits, padding of other bits', (t) => {
  t.strictSame(decoded('0480'), [[':path', '']], 'nothing');
  t.strictSame(decoded('04811f'), [[':path', 'a']], '00011, padded');
  t.equal(decoded('0484ffffffff'), 'EOS in a Huffman string');
  t.equal(decoded('048507ffffffff'), 'EOS in a Huffman string', 'behind a symbol');
  t.equal(decoded('04821fff'), 'Huffman padding of more than 7 bits', '11 ones');
  t.equal(decoded('0481ff'), 'Huffman padding of more than 7 bits', 'nothing but 8 ones');
  for (const [block, where] of [
    ['048118', 'zeros'],
    ['04811e', 'a zero at the end'],
    ['00811e0161', 'of a name'],
    ['40811e0161', 'of a name that is kept'],
    ['400161811e', 'of a value that is kept'],
    ['7a811e', 'behind a name of the table'],
  ] as const)
    t.equal(decoded(block), 'Huffman padding that is not all ones', where);
  t.end();
});

t.test('§4.2, §6.3 table sizes: two at most, before the first field, not above the setting', (t) => {
  t.strictSame(decoded('203fe11f82'), [[':method', 'GET']], '0, then 4096');
  t.equal(decoded('2020203fe11f82'), 'more than two table size updates');
  t.equal(decoded('8220'), 'table size update behind a field');
  t.equal(decoded('20000161016220'), 'table size update behind a field');
  t.equal(decoded('3fe21f'), 'table size above the setting', '4097');
  t.strictSame(decode(new HpackDecoder(65_536), '3fe1ff03'), [], '65536, which was allowed');
  t.equal(decode(new HpackDecoder(65_536), '3fe2ff03'), 'table size above the setting');
  t.equal(decode(new HpackDecoder(100), '3f46'), 'table size above the setting', '101');
  const decoder = new HpackDecoder();
  t.strictSame(decode(decoder, '2020'), []);
  t.strictSame(decode(decoder, '2020'), [], 'two a block, not two a connection');
  t.end();
});

t.test('§4.3 entries go when the table is made smaller', (t) => {
  const decoder = new HpackDecoder();
  const entries = ['a', 'b', 'c'].map((name) => literal(name, 'x', KEPT));
  decode(decoder, Buffer.concat(entries));
  t.strictSame(decode(decoder, 'c0'), [['a', 'x']]);
  t.strictSame(decode(decoder, '3f25bf'), [['b', 'x']], '68: two of 34');
  t.equal(decode(decoder, 'c0'), 'index beyond the table');
  const emptied = new HpackDecoder();
  decode(emptied, Buffer.concat(entries));
  t.strictSame(decode(emptied, '203fe11f'), []);
  t.equal(decode(emptied, 'be'), 'index beyond the table');
  t.strictSame(decode(emptied, literal('d', 'y', KEPT)), [['d', 'y']]);
  t.strictSame(decode(emptied, 'be'), [['d', 'y']]);
  t.end();
});

t.test('§4.4 an entry larger than the table empties it, and is a field all the same', (t) => {
  const decoder = new HpackDecoder(100);
  decode(decoder, literal('a', 'b', KEPT));
  const large = 'x'.repeat(68);
  t.strictSame(decode(decoder, literal('c', large, KEPT)), [['c', large]], '101 of 100');
  t.equal(decode(decoder, 'be'), 'index beyond the table');
  const fitting = new HpackDecoder(100);
  t.strictSame(decode(fitting, Buffer.concat([literal('c', large.slice(1), KEPT), Buffer.of(0xbe)])), [
    ['c', large.slice(1)],
    ['c', large.slice(1)],
  ]);
  t.end();
});

t.test('§4.4 a Huffman string fits where what it says does, however long it could have been', (t) => {
  const decoder = new HpackDecoder(100);
  // 26 codes of 13 bits: 43 bytes, which could say 68.
  const code = Buffer.from(`${BigInt(`0b${'1111111111000'.repeat(26)}111111`).toString(16)}`, 'hex');
  const block = Buffer.concat([Buffer.of(KEPT, 1, 97, 0x80 | code.length), code, Buffer.of(0xbe)]);
  t.strictSame(decode(decoder, block), [
    ['a', '\0'.repeat(26)],
    ['a', '\0'.repeat(26)],
  ]);
  t.end();
});

t.test('§4.4 a name may be that of the very entry that makes room', (t) => {
  const decoder = new HpackDecoder(100);
  const name = 'n'.repeat(40);
  decode(decoder, literal(name, 'first', KEPT));
  const again = Buffer.concat([Buffer.of(0x7e, 6), Buffer.from('second')]);
  t.strictSame(decode(decoder, again), [[name, 'second']]);
  t.strictSame(decode(decoder, 'be'), [[name, 'second']]);
  t.equal(decode(decoder, 'bf'), 'index beyond the table');
  t.end();
});

t.test('§6.2 what a literal leaves behind: an entry, or nothing', (t) => {
  for (const first of [0x00, NEVER_INDEXED]) {
    const decoder = new HpackDecoder();
    decode(decoder, literal('a', 'b', first));
    t.equal(decode(decoder, 'be'), 'index beyond the table');
  }
  t.end();
});

t.test('§6.2.3 only what is never indexed is sensitive', (t) => {
  const block = Buffer.concat([literal('a', '1', NEVER_INDEXED), literal('b', '2'), literal('c', '3', KEPT)]);
  const collected = new Collected();
  t.equal(new HpackDecoder().decode(block, 0, block.length, collected), '');
  t.strictSame(collected.sensitive, ['a']);
  t.end();
});

t.test('a sink that stops is called no more, and the table is right all the same', (t) => {
  const decoder = new HpackDecoder();
  const block = Buffer.concat([
    Buffer.of(0x82),
    literal('a', '1', KEPT),
    literal('b', '2'),
    Buffer.of(0xbe),
    literal('c', '3', KEPT),
  ]);
  for (const limit of [1, 2, 3, 4, 5, 6]) {
    const collected = new Collected();
    collected.limit = limit;
    t.equal(decoder.decode(block, 0, block.length, collected), '');
    t.equal(collected.fields.length, Math.min(limit, 5));
    t.strictSame(decode(decoder, 'bebf'), [
      ['c', '3'],
      ['a', '1'],
    ]);
  }
  const stopped = new Collected();
  stopped.limit = 1;
  const faulty = Buffer.from('8280', 'hex');
  t.equal(decoder.decode(faulty, 0, faulty.length, stopped), 'index 0', 'errors are found');
  t.end();
});

t.test(
  'what is known of a field: its name in the static table, and what was noted when it came first',
  (t) => {
    const decoder = new HpackDecoder();
    const knownOf = (...parts: (Buffer | string)[]) => {
      const block = Buffer.concat(
        parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'hex') : part)),
      );
      const collected = new Collected();
      t.equal(decoder.decode(block, 0, block.length, collected), '');
      return collected.known;
    };
    t.strictSame(
      knownOf('838587', '8eb9'),
      [
        [2, -3],
        [4, -5],
        [6, -7],
        [8, -14],
        [57, -57],
      ],
      'whole static entries',
    );
    t.strictSame(
      knownOf('05012f', '0e03323031', '0f2b0161'),
      [
        [4, 0],
        [8, 0],
        [58, 0],
      ],
      'static names',
    );
    t.strictSame(
      knownOf(
        literal(':path', '/a'),
        literal('cookie', 'a', NEVER_INDEXED),
        literal('Cookie', 'b'),
        literal('', ''),
      ),
      [
        [4, 0],
        [32, 0],
        [0, 0],
        [0, 0],
      ],
      'static names that are spelt out',
    );
    t.strictSame(
      knownOf(literal('x-a', '1', KEPT), literal('cookie', 'b=c', KEPT), Buffer.of(0x7f, 0x00, 1, 50)),
      [
        [0, 0],
        [32, 0],
        [0, 0],
      ],
      'new ones that are kept',
    );
    // The newest first.
    t.strictSame(
      knownOf('bebfc0'),
      [
        [0, 3],
        [32, 2],
        [0, 1],
      ],
      'the table has them, with their notes',
    );
    t.strictSame(knownOf('0f30013a'), [[32, 0]], 'a static name by the dynamic table');
    t.end();
  },
);

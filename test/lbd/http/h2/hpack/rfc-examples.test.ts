import t from 'tap';
import { HpackDecoder } from '../../../../../lbd/http/h2/hpack/decoder.ts';
import { decodeHuffman, encodeHuffman, huffmanLength } from '../../../../../lbd/http/h2/hpack/huffman.ts';
import { Collected, decode } from './collected.ts';

t.test('C.2 each way to write a field', (t) => {
  const decoder = () => new HpackDecoder();
  t.strictSame(decode(decoder(), '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'), [
    ['custom-key', 'custom-header'],
  ]);
  t.strictSame(decode(decoder(), '040c 2f73 616d 706c 652f 7061 7468'), [[':path', '/sample/path']]);
  t.strictSame(decode(decoder(), '82'), [[':method', 'GET']]);
  const block = Buffer.from('100870617373776f726406736563726574', 'hex');
  const collected = new Collected();
  t.equal(decoder().decode(block, 0, block.length, collected), '');
  t.strictSame(collected.fields, [['password', 'secret']]);
  t.strictSame(collected.sensitive, ['password']);
  t.end();
});

const REQUESTS = [
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
    ['cache-control', 'no-cache'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];

const DATE = 'Mon, 21 Oct 2013 20:13:21 GMT';
const LOCATION = 'https://www.example.com';
const RESPONSES = [
  [
    [':status', '302'],
    ['cache-control', 'private'],
    ['date', DATE],
    ['location', LOCATION],
  ],
  [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', DATE],
    ['location', LOCATION],
  ],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ['location', LOCATION],
    ['content-encoding', 'gzip'],
    ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ],
];

const CONNECTIONS = [
  {
    name: 'C.3 requests without Huffman coding',
    table: 4096,
    fields: REQUESTS,
    blocks: [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ],
  },
  {
    name: 'C.4 requests with Huffman coding',
    table: 4096,
    fields: REQUESTS,
    blocks: [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ],
  },
  {
    name: 'C.5 responses without Huffman coding, in a table of 256 bytes',
    table: 256,
    fields: RESPONSES,
    blocks: [
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
       2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      '4803 3330 37c1 c0bf',
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
       54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
       553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
    ],
  },
  {
    name: 'C.6 responses with Huffman coding, in a table of 256 bytes',
    table: 256,
    fields: RESPONSES,
    blocks: [
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
       29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
      '4883 640e ffc1 c0bf',
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
       d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ],
  },
];

for (const { name, table, fields, blocks } of CONNECTIONS)
  t.test(name, (t) => {
    const decoder = new HpackDecoder(table);
    for (const [i, block] of blocks.entries())
      t.strictSame(decode(decoder, block), fields[i], `block ${i + 1}`);
    t.end();
  });

t.test('C.4, C.6 strings in Huffman code, to and fro', (t) => {
  const strings = {
    'www.example.com': 'f1e3c2e5f23a6ba0ab90f4ff',
    'no-cache': 'a8eb10649cbf',
    'custom-key': '25a849e95ba97d7f',
    'custom-value': '25a849e95bb8e8b4bf',
    '302': '6402',
    private: 'aec3771a4b',
    [DATE]: 'd07abe941054d444a8200595040b8166e082a62d1bff',
    [LOCATION]: '9d29ad171863c78f0b97c8e9ae82ae43d3',
    'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1':
      '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
  };
  for (const [text, hex] of Object.entries(strings)) {
    const bytes = Buffer.from(text);
    const code = Buffer.alloc(huffmanLength(bytes, 0, bytes.length));
    t.equal(encodeHuffman(bytes, 0, bytes.length, code, 0), code.length, text);
    t.equal(code.toString('hex'), hex);
    const decoded = Buffer.alloc(200);
    t.equal(decoded.latin1Slice(0, decodeHuffman(code, 0, code.length, decoded, 0)), text);
  }
  t.end();
});

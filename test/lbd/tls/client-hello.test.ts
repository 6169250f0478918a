import { once } from 'node:events';
import net from 'node:net';
import { connect } from 'node:tls';
import t from 'tap';
import { MAX_HELLO_BYTES, readClientHello } from '../../../lbd/tls/client-hello.ts';

const u16 = (value: number) => Buffer.of(value >> 8, value & 255);
const withLength16 = (...parts: Buffer[]) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
};

/** A server_name extension with these entries. */
function serverName(...entries: readonly (readonly [type: number, name: string])[]): Buffer {
  const list = entries.map(([type, name]) =>
    Buffer.concat([Buffer.of(type), withLength16(Buffer.from(name, 'latin1'))]),
  );
  return Buffer.concat([u16(0), withLength16(withLength16(...list))]);
}

function message(extensions: Buffer | undefined): Buffer {
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    Buffer.of(32),
    Buffer.alloc(32, 9),
    withLength16(u16(0x1301)),
    Buffer.of(1, 0),
    ...(extensions === undefined ? [] : [withLength16(extensions)]),
  ]);
  return Buffer.concat([Buffer.of(1, body.length >> 16, (body.length >> 8) & 255, body.length & 255), body]);
}

/** In records of so many bytes. */
function records(bytes: Buffer, size = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const fragment = bytes.subarray(at, at + size);
    parts.push(Buffer.of(22, 3, 1), u16(fragment.length), fragment);
  }
  return Buffer.concat(parts);
}

const OTHER = Buffer.concat([u16(0x0017), u16(0)]);
const SHOP = records(message(Buffer.concat([OTHER, serverName([0, 'Shop.Example'])])));

t.test('what a ClientHello says', async (t) => {
  for (const [name, bytes, expected] of [
    ['a name, in lower case', SHOP, { kind: 'hello', serverName: 'shop.example' }],
    ['no extensions', records(message(undefined)), { kind: 'hello', serverName: '' }],
    ['no server name', records(message(OTHER)), { kind: 'hello', serverName: '' }],
    [
      'an address is no name',
      records(message(serverName([0, '192.0.2.1']))),
      { kind: 'hello', serverName: '' },
    ],
    [
      'another kind of name beside',
      records(message(serverName([9, 'x'], [0, 'a.b']))),
      { serverName: 'a.b' },
    ],
    ['bytes after it', Buffer.concat([SHOP, Buffer.alloc(100, 1)]), { serverName: 'shop.example' }],
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), { fault: 'not a TLS handshake' }],
    ['an alert', Buffer.of(21, 3, 1, 0, 2, 2, 40), { fault: 'not a TLS handshake' }],
    ['SSL 2.0', Buffer.of(0x80, 0x2e, 1, 3, 1), { fault: 'not a TLS handshake' }],
    ['version 4', Buffer.of(22, 4), { fault: 'not a TLS record' }],
    ['an empty record', Buffer.of(22, 3, 1, 0, 0), { fault: 'a TLS record of 0 bytes' }],
    ['a huge record', Buffer.of(22, 3, 1, 0xff, 0xff), { fault: 'a TLS record of 65535 bytes' }],
    ['a ServerHello', Buffer.of(22, 3, 1, 0, 4, 2, 0, 0, 0), { fault: /does not begin with a ClientHello/ }],
    ['a huge message', Buffer.of(22, 3, 1, 0, 9, 1, 1, 0, 0), { fault: /more than 16384 bytes/ }],
    [
      'two server names',
      records(message(Buffer.concat([serverName([0, 'a.b']), serverName([0, 'c.d'])]))),
      { fault: 'two server names' },
    ],
    ['two host names', records(message(serverName([0, 'a.b'], [0, 'c.d']))), { fault: /server name/ }],
    ['an empty name', records(message(serverName([0, '']))), { fault: 'a malformed server name' }],
    ['a name with a NUL', records(message(serverName([0, 'a\0b']))), { fault: 'a malformed server name' }],
    ['an empty list', records(message(serverName())), { fault: 'a malformed server name' }],
    [
      'an extension that is too long',
      records(message(Buffer.of(0, 0, 0, 9, 1))),
      { fault: 'a malformed extension' },
    ],
    [
      'a body that is too short',
      records(Buffer.of(1, 0, 0, 3, 3, 3, 0)),
      { fault: 'a malformed ClientHello' },
    ],
    [
      'bytes after the extensions',
      records(
        Buffer.concat([
          Buffer.of(1, 0, 0, 46),
          Buffer.alloc(35),
          u16(2),
          u16(1),
          Buffer.of(1, 0),
          u16(1),
          Buffer.alloc(3),
        ]),
      ),
      { fault: 'a malformed ClientHello' },
    ],
    [
      'too many records',
      records(message(Buffer.concat([u16(21), withLength16(Buffer.alloc(200))])), 1),
      { fault: 'the ClientHello is in too many records' },
    ],
  ] as const)
    t.match(readClientHello(bytes), expected, name);
});

t.test('byte by byte, whatever the records: more, until it is there', async (t) => {
  const plain = message(Buffer.concat([OTHER, serverName([0, 'shop.example'])]));
  for (const size of [16_384, 50, 7, 3]) {
    const bytes = records(plain, size);
    for (let length = 0; length < bytes.length; length++)
      if (readClientHello(bytes.subarray(0, length)).kind !== 'more')
        t.fail(`records of ${size} bytes, ${length} of ${bytes.length} bytes`);
    t.same(readClientHello(bytes), { kind: 'hello', serverName: 'shop.example' }, `records of ${size} bytes`);
  }
});

t.test('what never ends is a fault at the limit', async (t) => {
  const endless = records(Buffer.concat([Buffer.of(1, 0, 0x3f, 0xfc), Buffer.alloc(MAX_HELLO_BYTES)]), 8192);
  t.same(readClientHello(endless.subarray(0, MAX_HELLO_BYTES - 1)), { kind: 'more' });
  t.match(readClientHello(endless.subarray(0, MAX_HELLO_BYTES)), { kind: 'fault', fault: /more than 16384/ });
});

t.test('no change of a byte makes it throw', async (t) => {
  for (let at = 0; at < SHOP.length; at++)
    for (const value of [0, 1, 127, 255]) {
      const bytes = Buffer.from(SHOP);
      bytes[at] = value;
      readClientHello(bytes);
    }
  t.pass('it did not');
});

t.test('the ClientHello of OpenSSL', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const client = connect({
    port: (server.address() as net.AddressInfo).port,
    host: '127.0.0.1',
    servername: 'www.shop.example',
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  t.same(readClientHello(bytes), { kind: 'hello', serverName: 'www.shop.example' });
  client.destroy();
  socket.destroy();
});

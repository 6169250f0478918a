import t from 'tap';
import {
  type Certificate,
  expiryWarning,
  parseAuthorities,
  parseCertificate,
} from '../../../lbd/tls/certificate.ts';
import { CertificateBook, writeBook } from '../../../lbd/tls/certificate-book.ts';
import { subjectText } from '../../../lbd/tls/client-identity.ts';
import { ticketKeys } from '../../../lbd/tls/ticket-keys.ts';
import { certify } from './authority.ts';

const root = certify({ name: 'root', authority: true });
const middle = certify({ name: 'middle', authority: true, issuer: root });
const shop = certify({
  name: 'x',
  alternatives: ['Shop.example', '*.shop.example', '192.0.2.1'],
  issuer: middle,
});

t.test('a certificate with its chain and key', async (t) => {
  const { names, keyType, cert, key } = parseCertificate(
    `some text\n${shop.cert}${middle.cert}`,
    shop.key,
    'a.crt',
    'a.key',
  );
  t.same(names, ['shop.example', '*.shop.example']);
  t.equal(keyType, 'ec');
  t.equal(cert, shop.cert + middle.cert, 'without what is around');
  t.equal(key, shop.key.trim());
  const plain = certify({ name: 'only.example' });
  t.same(
    parseCertificate(plain.cert, plain.key, 'a', 'a').names,
    ['only.example'],
    'the common name, where it is all',
  );
});

t.test(
  'what cannot be used is refused with the file and the reason, and the key is not quoted',
  async (t) => {
    const other = certify();
    const weak = certify({ rsaBits: 1024 });
    const secret = shop.key.split('\n')[1]!;
    for (const [name, cert, key, expected] of [
      ['another key', shop.cert, other.key, /^a\.key: this key is not the one of a\.crt$/],
      ['no certificate', 'hello', shop.key, /^a\.crt: found no certificate, expected PEM$/],
      ['no key', shop.cert, 'hello', /^a\.key: found no private key, expected PEM$/],
      [
        'garbage in a certificate',
        shop.cert.replace(/\n.{40}/, '\nAAAA'),
        shop.key,
        /^a\.crt: certificate 1 cannot be read/,
      ],
      ['half a certificate', shop.cert.slice(0, 300), shop.key, /^a\.crt: found no certificate/],
      ['half a key', shop.cert, shop.key.slice(0, 100), /^a\.key: found no private key/],
      [
        'garbage in a key',
        shop.cert,
        shop.key.replace(/\n.{8}/, '\nAAAAAAAA'),
        /^a\.key: the key cannot be read/,
      ],
      [
        'a key with a passphrase',
        shop.cert,
        shop.key.replaceAll('PRIVATE', 'ENCRYPTED PRIVATE'),
        /^a\.key: the key has a passphrase/,
      ],
      ['a weak key', weak.cert, weak.key, /^a\.key: found an RSA key of 1024 bits/],
      [
        'a chain in the wrong order',
        shop.cert + root.cert + middle.cert,
        shop.key,
        /^a\.crt: certificate 2 of the chain did not sign certificate 1$/,
      ],
    ] as const)
      try {
        parseCertificate(cert, key, 'a.crt', 'a.key');
        t.fail(name);
      } catch (error) {
        const { message } = error as Error;
        t.match(message, expected, name);
        t.notMatch(message, secret.slice(0, 20));
      }
    t.throws(() => parseAuthorities('', 'ca.pem'), /ca\.pem: found no certificate/);
    t.equal(parseAuthorities(`x${root.cert}y${middle.cert}`, 'ca.pem'), root.cert + middle.cert);
  },
);

t.test('how long it lasts', async (t) => {
  const now = Date.now();
  for (const [name, fromDays, toDays, expected] of [
    ['long', -1, 90, undefined],
    ['soon', -80, 10.5, /^certificate a\.crt \(test\) expires in 10 days, on \d{4}-\d\d-\d\d$/],
    ['very soon', -80, 0.5, /expires in 1[12] hours/],
    ['short-lived, in its first days', -1, 5, undefined],
    ['short-lived, at its end', -5, 1.5, /expires in 3[56] hours/],
    ['over', -80, -1, /expired on/],
    ['not yet', 1, 80, /is valid only from/],
  ] as const) {
    const { cert, key } = certify({ fromDays, toDays });
    const warning = expiryWarning(parseCertificate(cert, key, 'a.crt', 'a.key'), now);
    if (expected === undefined) t.equal(warning, undefined, name);
    else t.match(warning, expected, name);
  }
});

/** A list of certificates of names and a kind of key, told by their place. */
function listOf(...certificates: (readonly [names: readonly string[], keyType?: string])[]): Certificate[] {
  return certificates.map(([names, keyType = 'ec'], i) => ({
    id: String(i).padStart(22, '-'),
    names,
    keyType,
    file: String(i),
    cert: `cert ${i}`,
    key: `key ${i}`,
    fingerprint: '',
    notBeforeMs: 0,
    notAfterMs: 1,
  }));
}

/** Places in the list of what each name gets. */
function chosen(list: readonly Certificate[], names: readonly string[], defaultName?: string): string[] {
  const book = new CertificateBook(writeBook(list, defaultName));
  return names.map((name) =>
    book
      .certificatesOf(book.group(name))
      .map(({ file }) => file)
      .join('+'),
  );
}

t.test('which certificate a name gets', async (t) => {
  const list = listOf([['a.example', 'www.a.example']], [['*.a.example']], [['b.example', 'a.example']]);
  const names = ['a.example', 'www.a.example', 'x.a.example', 'y.x.a.example', 'b.example', 'example', ''];
  t.same(chosen(list, names), ['0', '0', '1', '0', '2', '0', '0']);
  t.same(chosen(list, ['other', ''], 'b.example'), ['2', '2'], 'the default by its name');
  t.same(chosen(list, ['other'], '*.a.example'), ['1']);
  t.same(chosen(list, ['other'], 'nobody'), ['0']);
  t.same(chosen(listOf([[]], [['a']]), ['', 'a']), ['0', '1'], 'one without a name is the default');
});

t.test('ECDSA and RSA go together name by name, and the first one of each kind counts', async (t) => {
  const list = listOf(
    [['d'], 'ec'],
    [['a', 'b'], 'ec'],
    [['b', 'c'], 'rsa'],
    [['a', 'b'], 'rsa'],
    [['*.x'], 'rsa'],
    [['y.x'], 'ec'],
    [['d'], 'rsa'],
  );
  t.same(chosen(list, ['a', 'b', 'c', 'y.x', 'z.x', '']), ['1+3', '1+2', '2', '5', '4', '0+6']);
});

t.test(
  'a book of ten thousand certificates: each name is found, and every certificate as it was',
  async (t) => {
    const list = listOf(...Array.from({ length: 10_000 }, (_, i) => [[`n${i}.example`, `é${i}`]] as const));
    const book = new CertificateBook(writeBook(list, undefined));
    for (const i of [0, 1, 4999, 9999]) {
      const group = book.group(`n${i}.example`);
      t.same(book.certificatesOf(group), [list[i]]);
      t.equal(group.key, list[i]!.id);
      t.equal(book.group(`é${i}`).key, list[i]!.id, 'also one of letters that take more than a byte');
    }
    t.ok(
      list.every(({ id, names }) => book.group(names[0]!).key === id),
      'all of them',
    );
    t.equal(book.group('n10000.example').key, list[0]!.id);
    t.same(book.all(), list);
    t.notOk(book.isSingle);
    t.ok(new CertificateBook(writeBook(list.slice(0, 1), undefined)).isSingle);
  },
);

t.test('ticket keys: equal for equal things, else not', async (t) => {
  const secret = Buffer.alloc(32, 1);
  const keys = ticketKeys(secret, 'web', 'none');
  t.equal(keys.length, 48);
  t.same(ticketKeys(secret, 'web', 'none'), keys);
  for (const other of [
    ticketKeys(secret, 'api', 'none'),
    ticketKeys(secret, 'web', 'required'),
    ticketKeys(Buffer.alloc(32, 2), 'web', 'none'),
  ])
    t.notSame(other, keys);
});

t.test('the subject as a field value', async (t) => {
  for (const [subject, expected] of [
    ['O=Shop\nCN=alice', 'CN=alice,O=Shop'],
    ['CN=Zoë', 'CN=Zo\\C3\\AB'],
    ['CN=a\r', 'CN=a\\0D'],
    ['CN=a\\, b', 'CN=a\\, b'],
    ['', undefined],
    [`CN=${'x'.repeat(2000)}`, undefined],
  ] as const)
    t.equal(subjectText({ subject }), expected);
});

import t from 'tap';
import { expiryWarning, parseAuthorities, parseCertificate } from '../../../lbd/tls/certificate.ts';
import { CertificateChoice, sameNames } from '../../../lbd/tls/certificate-choice.ts';
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

t.test('which certificate a name gets', async (t) => {
  const items = [
    { names: ['a.example', 'www.a.example'], item: 'a' },
    { names: ['*.a.example'], item: 'wild' },
    { names: ['b.example', 'a.example'], item: 'b' },
  ];
  const choice = new CertificateChoice(items, undefined);
  for (const [name, expected] of [
    ['a.example', 'a'],
    ['A.Example', 'a'],
    ['www.a.example', 'a'],
    ['x.a.example', 'wild'],
    ['y.x.a.example', 'a'],
    ['b.example', 'b'],
    ['example', 'a'],
    ['', 'a'],
  ] as const)
    t.equal(choice.pick(name), expected, name || 'no name');
  t.equal(new CertificateChoice(items, 'b.example').pick('other'), 'b', 'the default by its name');
  t.equal(new CertificateChoice(items, '*.a.example').pick('other'), 'wild');
  t.equal(new CertificateChoice(items, 'nobody').pick('other'), 'a');
});

t.test('ECDSA and RSA for the same names go together', async (t) => {
  const of = (names: string[], keyType: string) => ({ names, keyType });
  t.same(
    sameNames([of(['a', 'b'], 'ec'), of(['c'], 'ec'), of(['b', 'a'], 'rsa'), of(['a', 'b'], 'rsa')]).map(
      (g) => g.length,
    ),
    [2, 1],
  );
});

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

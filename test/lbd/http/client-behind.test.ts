import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { NetworkSet } from '../../../lbd/entry/network-set.ts';
import { askedBy } from '../../../lbd/http/client-behind.ts';

const PEER = { address: '10.0.0.1', scheme: 'http' } as const;

/** @param keys of the frontend */
function trust(keys: string) {
  const { frontends } = parseConfig(
    `
frontends: { web: { bind: ["127.0.0.1:80"], pool: web, ${keys} } }
pools: { web: { backends: { s: { address: "10.0.0.9:80" } } } }
`,
    '/f',
  );
  const config = frontends[0]!;
  const networks = new NetworkSet();
  return { config, trusts: (address: string) => networks.has(config.trustedProxies ?? [], address) };
}

function asked(fields: Readonly<Record<string, string>>, keys = '', peer: string = PEER.address) {
  return askedBy(
    { header: (name) => fields[name] },
    { ...PEER, address: peer },
    trust(`trusted_proxies: [10.0.0.0/8, "fd00::/8"], ${keys}`),
  );
}

for (const [sent, client] of [
  [undefined, PEER.address],
  ['', PEER.address],
  ['192.0.2.7', '192.0.2.7'],
  ['6.6.6.6, 192.0.2.7', '192.0.2.7'],
  ['6.6.6.6, 192.0.2.7, 10.0.0.2', '192.0.2.7'],
  ['192.0.2.7,10.0.0.3 ,\t10.0.0.2', '192.0.2.7'],
  ['10.0.0.3, 10.0.0.2', '10.0.0.3'],
  ['192.0.2.7:4711', '192.0.2.7'],
  ['2001:DB8::7', '2001:db8::7'],
  ['[2001:db8::7]', '2001:db8::7'],
  ['[2001:db8::7]:4711, fd00::2', '2001:db8::7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['192.0.2.7, unknown', PEER.address],
  ['192.0.2.7, unknown, 10.0.0.2', '10.0.0.2'],
  ['192.0.2.7,', '192.0.2.7'],
  ['192.0.2.7, ,10.0.0.2', '192.0.2.7'],
  ['192.0.2.7, evil"\r', PEER.address],
  [`192.0.2.7${', 10.0.0.2'.repeat(9_000)}`, '10.0.0.2'],
] as const)
  t.test(`X-Forwarded-For from the right, up to who is not trusted: ${sent?.slice(0, 60)}`, (t) => {
    const fields: Record<string, string> = sent === undefined ? {} : { 'x-forwarded-for': sent };
    t.strictSame(asked(fields), { client: { ...PEER, address: client }, believed: 'x-forwarded' });
    t.strictSame(
      asked(fields, '', '192.0.2.9'),
      { client: { ...PEER, address: '192.0.2.9' }, believed: 'nothing' },
      'nobody else is believed',
    );
    t.end();
  });

for (const [sent, client, scheme = 'http'] of [
  [undefined, PEER.address],
  ['for=192.0.2.7', '192.0.2.7'],
  ['for=192.0.2.7;proto=https;by=10.0.0.1', '192.0.2.7', 'https'],
  ['For="[2001:db8:cafe::17]:4711"', '2001:db8:cafe::17'],
  ['for=192.0.2.43, for=198.51.100.17', '198.51.100.17'],
  ['for=192.0.2.7;proto=https, for=10.0.0.2;proto=http', '192.0.2.7', 'https'],
  ['for="192.0.2.\\7";host="a,b;c\\"d", for=10.0.0.2', '192.0.2.7'],
  ['for=unknown;proto=https', PEER.address],
  ['for=_hidden, for=10.0.0.2', '10.0.0.2'],
  ['proto=https', PEER.address],
  ['for="192.0.2.7', PEER.address],
  ['for=", for=192.0.2.7', '192.0.2.7'],
  [`for=192.0.2.7;host="a${','.repeat(100)}b"`, '192.0.2.7'],
  ['(, for=192.0.2.7', '192.0.2.7'],
  ['for="a, for="192.0.2.7"', '192.0.2.7'],
  ['for=192.0.2.7,', '192.0.2.7'],
  ['for=192.0.2.7 x', PEER.address],
  ['for=192.0.2.7;;proto=https', '192.0.2.7', 'https'],
  [`${' '.repeat(60_000)}x`, PEER.address],
] as const)
  t.test(`RFC 7239: ${sent?.slice(0, 60)}`, (t) => {
    const fields = { 'x-forwarded-for': '6.6.6.6', ...(sent !== undefined && { forwarded: sent }) };
    t.strictSame(asked(fields, 'client_field: Forwarded'), {
      client: { address: client, scheme },
      believed: 'forwarded',
    });
    t.end();
  });

t.test('the scheme is that of X-Forwarded-Proto, where it is one', (t) => {
  for (const [proto, scheme] of [
    ['https', 'https'],
    ['HTTPS', 'https'],
    ['http, https', 'http'],
    ['gopher', 'http'],
  ] as const)
    t.equal(asked({ 'x-forwarded-proto': proto }).client.scheme, scheme, proto);
  t.end();
});

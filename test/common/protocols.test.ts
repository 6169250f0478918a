import t from 'tap';
import { parseConfig } from '../../common/config.ts';
import { alpnOf, protocolsOf } from '../../common/protocols.ts';

const TLS = 'tls: { certificates: directory';

function frontend(keys: string) {
  return parseConfig(
    `frontends: { web: { bind: "*:80", pool: web, ${keys} } }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } } } }
`,
    '/f',
  );
}

t.test('what clients may speak', async (t) => {
  const table: [keys: string, protocols: string[], alpn: string[]][] = [
    ['', ['http/1.1'], []],
    ['protocols: [h2, http/1.1]', ['h2', 'http/1.1'], []],
    ['protocols: [h2]', ['h2'], []],
    [`${TLS} }`, ['h2', 'http/1.1'], ['h2', 'http/1.1']],
    [`${TLS} }, protocols: [http/1.1]`, ['http/1.1'], ['http/1.1']],
    [`${TLS}, alpn: [http/1.1] }`, ['http/1.1'], ['http/1.1']],
    [`mode: tcp, ${TLS} }`, [], []],
    [`mode: tcp, ${TLS}, alpn: [h2, imap] }`, [], ['h2', 'imap']],
  ];
  for (const [keys, protocols, alpn] of table) {
    const [web] = frontend(keys).frontends;
    t.same(protocolsOf(web!), protocols, keys);
    t.same(alpnOf(web!), alpn, keys);
  }
});

t.test('a default that is written down is no other config to the peer', async (t) => {
  t.equal(frontend(`${TLS} }, protocols: [h2, http/1.1]`).digest, frontend(`${TLS} }`).digest);
  t.not(frontend(`${TLS} }, protocols: [http/1.1, h2]`).digest, frontend(`${TLS} }`).digest);
});

t.test('what is refused', async (t) => {
  const table: [keys: string, message: RegExp][] = [
    ['protocols: []', /expected h2, http\/1\.1 or both/],
    ['protocols: [h3]', /h3.*h2 or http\/1\.1/],
    ['protocols: h2', /expected a list of h2 and http\/1\.1/],
    ['protocols: [h2, h2]', /names one of them twice/],
    ['mode: tcp, protocols: [h2]', /is for mode http only, found mode tcp/],
    [`${TLS}, alpn: [h2] }, protocols: [h2]`, /stands beside "protocols"/],
    [`${TLS}, alpn: [http/1.0] }`, /found http\/1\.0: mode http speaks h2 and http\/1\.1/],
  ];
  for (const [keys, message] of table) t.throws(() => frontend(keys), message, keys);
});

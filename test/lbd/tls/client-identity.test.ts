import t from 'tap';
import { answering, Plane, RawOrigin } from '../harness.ts';
import { certify } from './authority.ts';
import { Certificates, SecureClient } from './secure-client.ts';

t.test('routes and hashes see who a client is, not who it says it is', async (t) => {
  const files = new Certificates(t);
  const origin = (name: string) =>
    RawOrigin.start(t, answering(`HTTP/1.1 200 OK\r\nX-From: ${name}\r\nContent-Length: 2\r\n\r\nok`));
  const [admin, one, other] = [await origin('A'), await origin('1'), await origin('2')];
  const plane = await Plane.start(
    t,
    `
frontends:
  web:
    bind: ["127.0.0.1:PORT"]
    tls: { certificates: [${files.server('a.example').files}], client: { mode: optional, ca: ${files.rootFile} } }
    routes:
      - { match: { header: { X-Client-Subject: { prefix: CN=admin } } }, pool: admin }
      - { match: { header: { X.Client_Subject: true } }, pool: admin }
    pool: web
pools:
  admin: { backends: { a: { address: "127.0.0.1:${admin.port}" } } }
  web:
    algorithm: consistent-hash
    hash: { key: { header: X-Client-Subject } }
    backends: { s1: { address: "127.0.0.1:${one.port}" }, s2: { address: "127.0.0.1:${other.port}" } }
`,
  );
  const ask = async (lines: string, name?: string) => {
    const identity = name === undefined ? undefined : certify({ name, issuer: files.root });
    const client = await SecureClient.open(
      t,
      plane.port,
      identity && { cert: identity.cert, key: identity.key },
    );
    const answer = await client.ask(`GET / HTTP/1.1\r\nHost: a\r\n${lines}\r\n`);
    client.socket.destroy();
    return /X-From: (.)/.exec(answer)?.[1];
  };
  t.equal(await ask('', 'admin'), 'A', 'what the certificate says is what a route sees');
  const nobody = await ask('');
  t.match(nobody, /^[12]$/);
  for (const name of ['X-Client-Subject', 'x_client_subject', 'X.Client.Subject', 'X-Client+Subject'])
    for (const subject of ['CN=admin', 'CN=bob', 'CN=carol', 'CN=dave', 'CN=erin'])
      t.equal(await ask(`${name}: ${subject}\r\n`), nobody, `${name}: ${subject}`);
  const got = [admin, one, other].flatMap(({ received }) => received).join('');
  t.notMatch(got, /bob|carol|dave|erin/);
});

import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { settled } from '../../common/settled.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { withoutIds } from '../http/exchange.ts';
import { certify } from './authority.ts';
import { Certificates, SecureClient } from './secure-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** @param tls of the frontend, in flow style */
function yaml(port: number, tls: string, more = ''): string {
  return `
frontends:
  web: { bind: ["127.0.0.1:PORT"], pool: web, tls: { ${tls} }, ${more} }
pools:
  web: { backends: { s1: { address: "127.0.0.1:${port}" } } }
`;
}

async function start(t: Test, tls: string, more = '', reply = answering(OK)) {
  const origin = await RawOrigin.start(t, reply);
  const plane = await Plane.start(t, yaml(origin.port, tls, more));
  const count = (name: Parameters<typeof plane.control.frontendCounter>[1]) =>
    plane.control.frontendCounter(0, name);
  return { origin, plane, count, open: (options = {}) => SecureClient.open(t, plane.port, options) };
}

t.test('requests come through, and the backend hears that it was https', async (t) => {
  const files = new Certificates(t);
  const { origin, open, count } = await start(
    t,
    `certificates: [${files.server('a.example').files}]`,
    'hsts: { max_age: 1y, include_subdomains: true }',
  );
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = await open({
      servername: 'a.example',
      ca: files.root.cert,
      rejectUnauthorized: true,
      minVersion: version,
      maxVersion: version,
      ALPNProtocols: ['h3', 'http/1.1'],
    });
    t.equal(client.socket.alpnProtocol, 'http/1.1');
    for (let i = 0; i < 3; i++)
      t.match(await client.ask(), '\r\nStrict-Transport-Security: max-age=31536000; includeSubDomains\r\n');
    client.socket.destroy();
  }
  t.match(withoutIds(origin.received[0]!), '\r\nX-Forwarded-Proto: https\r\n');
  t.equal(count('requests'), 6);
  t.equal(count('tls_handshakes'), 2);
  await settled(() => count('connections') === 0);
});

t.test('the certificate goes by name: exact, wildcard of one label, default; ECDSA and RSA', async (t) => {
  const files = new Certificates(t);
  const certificates = [
    files.server('a.example'),
    files.server('wild', ['*.a.example']),
    files.server('b.example'),
    files.server('b-rsa', ['b.example'], { rsa: true }),
  ];
  const { open } = await start(
    t,
    `certificates: [${certificates.map((one) => one.files).join(', ')}], default: b.example`,
  );
  const names = async (servername: string | undefined, more = {}) => {
    const client = await open({ ...(servername !== undefined && { servername }), ...more });
    t.match(await client.ask(), 'ok');
    return client.socket.getPeerCertificate().subject.CN;
  };
  t.equal(await names('a.example'), 'a.example');
  t.equal(await names('x.a.example'), 'wild');
  t.equal(await names('y.x.a.example'), 'b.example');
  t.equal(await names('b.example'), 'b.example');
  t.equal(await names(undefined), 'b.example');
  const rsa = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' };
  t.equal(await names('b.example', rsa), 'b-rsa', 'a client that knows only RSA');
});

const ECDSA_12 = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' };
const RSA_12 = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' };
const ECDSA_13 = { minVersion: 'TLSv1.3', sigalgs: 'ecdsa_secp256r1_sha256' };
const RSA_13 = { minVersion: 'TLSv1.3', sigalgs: 'rsa_pss_rsae_sha256' };

t.test('a certificate of each kind of key serves for every name, whichever is listed last', async (t) => {
  const files = new Certificates(t);
  const ec = files.server('a-ec', ['a.example']);
  const rsa = files.server('a-rsa', ['a.example'], { rsa: true });
  const others = [files.server('default.example'), files.server('both', ['b.example', 'a.example'])];
  for (const list of [
    [others[0]!, ec, rsa, others[1]!],
    [others[0]!, rsa, ec, others[1]!],
  ]) {
    const { open } = await start(t, `certificates: [${list.map((one) => one.files).join(', ')}]`);
    for (const [options, expected] of [
      [ECDSA_12, 'a-ec'],
      [RSA_12, 'a-rsa'],
      [ECDSA_13, 'a-ec'],
      [RSA_13, 'a-rsa'],
      [{}, 'a-ec'],
    ] as const) {
      const client = await open({ servername: 'a.example', ...options }).catch(
        (error: Error) => error.message,
      );
      const shown = typeof client === 'string' ? client : client.socket.getPeerCertificate().subject.CN;
      t.equal(shown, expected, `${JSON.stringify(options)} of ${list.map(({ certFile }) => certFile)}`);
    }
  }
});

t.test("the name comes before the kind of key: nobody gets another name's certificate for it", async (t) => {
  const files = new Certificates(t);
  const list = [
    files.server('default.example'),
    files.server('a.example', ['a.example', 'www.a.example'], { rsa: true }),
    files.server('www', ['www.a.example']),
  ];
  const { open, count } = await start(t, `certificates: [${list.map((one) => one.files).join(', ')}]`);
  const shown = async (servername: string, options = {}) => {
    const client = await open({ servername, ...options }).catch((error: Error) => error.message);
    return typeof client === 'string' ? client : client.socket.getPeerCertificate().subject.CN;
  };
  t.equal(await shown('a.example'), 'a.example', 'it is RSA, and the default is what clients like best');
  t.equal(await shown('a.example', { maxVersion: 'TLSv1.2' }), 'a.example');
  t.match(await shown('a.example', ECDSA_12), /handshake failure/);
  t.match(await shown('a.example', ECDSA_13), /handshake failure/);
  t.equal(await shown('www.a.example', ECDSA_13), 'www', 'another set of names, and one of them is the same');
  t.equal(await shown('www.a.example', RSA_13), 'a.example');
  t.equal(await shown('default.example', ECDSA_12), 'default.example');
  t.equal(count('tls_failed'), 2);
});

t.test('what is not allowed does not get in, with a cause, and leaves nothing behind', async (t) => {
  const files = new Certificates(t);
  const { plane, open, count } = await start(
    t,
    `certificates: [${files.server('a.example').files}], min_version: "1.3"`,
    'timeouts: { head: 100ms }, max_connections: 3',
  );
  for (const options of [
    { maxVersion: 'TLSv1.2' },
    { ALPNProtocols: ['h3'] },
    { ciphers: 'TLS_AES_128_CCM_SHA256' },
  ])
    await t.rejects(open(options), JSON.stringify(options));
  t.equal(count('tls_failed'), 3);
  const plain = await RawClient.open(t, plane.port);
  plain.write(GET);
  t.match(await plain.end(), /^HTTP\/1\.1 400 /);
  const mute = await RawClient.open(t, plane.port);
  await mute.end();
  t.pass('a client that says nothing is cut off in time');
  const gone = await RawClient.open(t, plane.port);
  gone.write('\x16\x03\x01\x02\x00\x01');
  gone.socket.destroy();
  await settled(() => count('tls_failed') === 6 && count('connections') === 0);
  const client = await open();
  t.match(await client.ask(), 'ok', 'and there is room again');
});

t.test('the limit of connections counts handshakes, and is kept without one', async (t) => {
  const files = new Certificates(t);
  const { plane, open, count } = await start(
    t,
    `certificates: [${files.server('a.example').files}]`,
    'max_connections: 1',
  );
  const first = await RawClient.open(t, plane.port);
  await settled(() => count('connections') === 1);
  await t.rejects(open(), { code: 'ECONNRESET' });
  t.equal(count('refused_full'), 1);
  first.socket.destroy();
  await settled(() => count('connections') === 0);
  t.match(await (await open()).ask(), 'ok');
});

t.test('a session is resumed in another worker and on the other node', async (t) => {
  const files = new Certificates(t);
  const certificates = `certificates: [${files.server('a.example').files}]`;
  const [first, second, other] = [
    await start(t, certificates),
    await start(t, certificates),
    await start(t, `${certificates}, client: { mode: optional, ca: ${files.rootFile} }`),
  ];
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = { servername: 'a.example', maxVersion: version };
    const client = await first.open(options);
    t.match(await client.ask(), 'ok');
    const session = await client.session();
    const again = await second.open({ ...options, session });
    t.match(await again.ask(), 'ok');
    t.ok(again.socket.isSessionReused(), `${version}: resumed`);
    const elsewhere = await other.open({ ...options, session });
    t.match(await elsewhere.ask(), 'ok');
    t.notOk(elsewhere.socket.isSessionReused(), `${version}: not where clients must show more`);
  }
  t.equal(second.count('tls_resumed'), 2);
  t.equal(second.count('tls_handshakes'), 0);
});

t.test(
  'new keys of tickets seal, old ones open until they are gone, and nothing is served anew',
  async (t) => {
    const files = new Certificates(t);
    const { plane, open } = await start(t, `certificates: [${files.server('a.example').files}]`);
    const secret = (fill: number) => new Uint8Array(32).fill(fill);
    const secrets = async (...list: Uint8Array[]) => {
      plane.ticketSecrets = list;
      await plane.apply(plane.config);
    };
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const options = { servername: 'a.example', maxVersion };
      await secrets(secret(1));
      const stays = await open(options);
      t.match(await stays.ask(), 'ok');
      const session = await stays.session();
      const resumes = async (ticket: Buffer) => {
        const client = await open({ ...options, session: ticket });
        t.match(await client.ask(), 'ok');
        return { resumed: client.socket.isSessionReused(), client };
      };
      await secrets(secret(2), secret(1));
      const { resumed, client } = await resumes(session);
      t.ok(resumed, `${maxVersion}: the former key still opens`);
      // Of a resumed session of TLS 1.2 Node announces no new ticket.
      const renewed = maxVersion === 'TLSv1.2' ? client.socket.getSession()! : await client.session();
      await secrets(secret(3), secret(2));
      t.notOk((await resumes(session)).resumed, `${maxVersion}: a key that is gone does not`);
      t.ok(
        (await resumes(renewed)).resumed,
        `${maxVersion}: the client got a ticket of the newer key meanwhile`,
      );
      t.match(await stays.ask(), 'ok', 'the connection of the beginning goes on');
    }
  },
);

t.test('client certificates', async (t) => {
  const files = new Certificates(t);
  const server = files.server('a.example').files;
  const alice = certify({ name: 'alice', organisation: 'Shop', issuer: files.root });
  const stranger = certify({ name: 'stranger' });
  const expired = certify({ name: 'old', issuer: files.root, fromDays: -9, toDays: -1 });
  const last = (text: string) => text.slice(text.lastIndexOf('GET '));
  const forged =
    'GET / HTTP/1.1\r\nHost: a\r\nX-Client-Subject: CN=root\r\nx_client_subject: CN=root\r\nX-Client_Subject: r\r\nx-client-subject: CN=root\r\nX-Other: y\r\n\r\n';

  const required = await start(t, `certificates: [${server}], client: { ca: ${files.rootFile} }`);
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = await required.open({ cert: alice.cert, key: alice.key, maxVersion: version });
    t.match(await client.ask(forged), 'ok');
    const got = last(required.origin.received[0]!);
    t.match(got, '\r\nX-Client-Subject: CN=alice,O=Shop\r\n');
    t.notMatch(got, /root|x_client|client_subject/i, 'what the client says about itself does not count');
    t.match(got, '\r\nX-Other: y\r\n');
    const session = await client.session();
    const again = await required.open({ cert: alice.cert, key: alice.key, maxVersion: version, session });
    t.match(await again.ask(), 'ok');
    t.ok(again.socket.isSessionReused());
    t.match(
      last(required.origin.received[0]!),
      'X-Client-Subject: CN=alice,O=Shop',
      'known when resumed, too',
    );
  }
  for (const identity of [undefined, stranger, expired]) {
    const client = new SecureClient(
      t,
      required.plane.port,
      identity && { cert: identity.cert, key: identity.key },
    );
    client.write(GET);
    t.equal(await client.end(), '');
  }
  t.notMatch(required.origin.received.join(), 'stranger');
  await settled(() => required.count('tls_failed') === 3);

  const optional = await start(
    t,
    `certificates: [${server}], client: { mode: optional, ca: ${files.rootFile}, header: X-Me }`,
  );
  t.match(await (await optional.open()).ask(forged.replaceAll('Client-Subject', 'Me')), 'ok');
  t.notMatch(optional.origin.received[0]!, /x.me/i);
  t.match(await (await optional.open({ cert: alice.cert, key: alice.key })).ask(), 'ok');
  t.match(optional.origin.received.join(), '\r\nX-Me: CN=alice,O=Shop\r\n');
  const bad = new SecureClient(t, optional.plane.port, { cert: stranger.cert, key: stranger.key });
  bad.write(GET);
  t.equal(await bad.end(), '', 'none is fine, a bad one is not');
  await settled(() => optional.count('tls_failed') === 1);
});

t.test('the field of client certificates cannot be forged through a plain frontend either', async (t) => {
  const files = new Certificates(t);
  const origin = await RawOrigin.start(t, answering(OK));
  const text = `
frontends:
  plain: { bind: ["127.0.0.1:PORT"], pool: web }
  web: { bind: ["127.0.0.2:PORT"], pool: web, tls: { certificates: [${files.server('a').files}], client: { ca: ${files.rootFile} } } }
pools:
  web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`;
  const plane = await Plane.start(t, text);
  const client = await RawClient.open(t, plane.port);
  client.write(GET.replace('Host', 'X-CLIENT-SUBJECT: CN=root\r\nHost'));
  await client.until((got) => got.endsWith('ok'));
  t.notMatch(origin.received[0]!, /client/i);
  t.match(origin.received[0]!, 'X-Forwarded-Proto: http\r\n');
});

t.test('bodies of every size, both ways, also while one side is slow', async (t) => {
  const files = new Certificates(t);
  const big = 'x'.repeat(3_000_000);
  let got = 0;
  const { open, plane, count } = await start(
    t,
    `certificates: [${files.server('a.example').files}]`,
    '',
    (socket, data) => {
      if (data.startsWith('GET')) {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n${big}`);
        return;
      }
      got += data.length;
      if (data.endsWith('yz') || data.endsWith('0\r\n\r\n')) socket.write(OK);
    },
  );
  const client = await open();
  client.socket.pause();
  client.write(GET);
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.socket.resume();
  const answer = await client.until((text) => text.length > big.length);
  t.ok(answer.endsWith(big.slice(0, 1000)) && answer.indexOf('x'.repeat(big.length)) > 0);
  const uploader = await open();
  t.match(
    await uploader.ask(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${big.length + 2}\r\n\r\n${big}yz`),
    'ok',
  );
  t.ok(got > big.length);
  const chunked = `${(1000).toString(16)}\r\n${'y'.repeat(1000)}\r\n`.repeat(500);
  t.match(
    await uploader.ask(
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}2\r\nyz\r\n0\r\n\r\n`,
    ),
    'ok',
  );
  t.equal(plane.active, 0);
  client.socket.destroy();
  uploader.socket.destroy();
  await settled(() => count('connections') === 0);
});

t.test('one byte a record, and many requests in one', async (t) => {
  const files = new Certificates(t);
  const { open } = await start(t, `certificates: [${files.server('a.example').files}]`);
  const slow = await open();
  for (const byte of GET) await new Promise<void>((resolve) => slow.socket.write(byte, () => resolve()));
  t.equal(await slow.until((text) => text.endsWith('ok')), OK);
  const fast = await open();
  fast.write(GET.repeat(20));
  t.equal(await fast.until((text) => text.length === OK.length * 20), OK.repeat(20));
});

t.test('the end of a client is heard, and a connection that is cut is reset', async (t) => {
  const files = new Certificates(t);
  const { open, plane, count, origin } = await start(
    t,
    `certificates: [${files.server('a.example').files}]`,
    '',
    (socket, data) => {
      if (data.includes('/half')) {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
        socket.end();
      } else answering(OK)(socket, data);
    },
  );
  const closing = await open();
  closing.socket.end(GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
  t.match(await closing.end(), /ok$/);
  const half = await open();
  half.write(GET.replace('/', '/half'));
  await half.until(() => false);
  t.equal(half.closed, 'ECONNRESET', 'a response that was cut off does not end in order');
  const cut = await open();
  await cut.ask();
  for (const connection of [cut]) connection.socket.resume();
  await plane.plane.stop(0);
  await cut.end();
  await settled(() => count('connections') === 0);
  t.ok(origin.received.length > 0);
});

t.test('new certificates serve new connections, and open ones go on', async (t) => {
  const files = new Certificates(t);
  const { open, plane, origin } = await start(t, `certificates: [${files.server('a.example').files}]`);
  const before = await open();
  await before.ask();
  files.server('a.example', ['a.example', 'new.example']);
  await plane.apply(plane.config);
  t.match(await before.ask(), 'ok');
  const after = await open();
  t.equal(after.socket.getPeerCertificate().subjectaltname, 'DNS:a.example, DNS:new.example');
  t.equal(before.socket.getPeerCertificate().subjectaltname, 'DNS:a.example');
  const off = parseConfig(
    yaml(origin.port, 'x').replaceAll('PORT', String(plane.port)).replace('tls: { x },', ''),
    '/test.yaml',
    { cpus: 1 },
  );
  await plane.apply(off);
  t.match(await before.ask(), 'ok', 'TLS is taken off the frontend: what is open stays');
  const plain = await RawClient.open(t, plane.port);
  plain.write(GET);
  t.match(await plain.until((text) => text.endsWith('ok')), 'ok');
});

t.test('mode tcp: bytes and ends go both ways, nothing is lost before the backend is there', async (t) => {
  const files = new Certificates(t);
  const origin = await RawOrigin.start(t, (socket, data) => socket.write(data.toUpperCase()));
  const plane = await Plane.start(
    t,
    `
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: tcp, pool: web, tls: { certificates: [${files.server('a').files}] } }
pools:
  web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`,
  );
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = new SecureClient(t, plane.port, { maxVersion: version });
    // With the end of the handshake, before there is a backend.
    client.socket.end('hello '.repeat(5000));
    t.equal(await client.until((text) => text.length === 30_000), 'HELLO '.repeat(5000));
    await origin.until(() => origin.received.at(-1)!.includes('<end>'));
    t.equal(origin.received.at(-1)!.replace(/<.*/, ''), 'hello '.repeat(5000));
    client.socket.destroy();
  }
});

t.test('PROXY header, then TLS, of one certificate and of several', async (t) => {
  const files = new Certificates(t);
  const certificates = [files.server('a.example').files, files.server('b.example').files];
  for (const count of [1, 2])
    for (const together of [true, false]) {
      const list = certificates.slice(0, count).join(', ');
      const { plane, origin } = await start(t, `certificates: [${list}]`, 'accept_proxy: 127.0.0.0/8');
      const raw = await RawClient.open(t, plane.port);
      raw.socket.removeAllListeners('data');
      raw.write('PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n');
      if (!together) await new Promise((resolve) => setTimeout(resolve, 20));
      const secure = connect({ socket: raw.socket, rejectUnauthorized: false, servername: 'b.example' });
      t.teardown(() => secure.destroy());
      let text = '';
      secure.on('data', (bytes) => {
        text += bytes;
      });
      secure.write(GET);
      await settled(() => text.endsWith('ok'));
      t.match(origin.received[0]!, 'X-Forwarded-For: 192.0.2.7\r\n');
      t.equal(secure.getPeerCertificate().subject.CN, count === 1 ? 'a.example' : 'b.example');
    }
});

t.test('plain HTTP on the port of https is told so, in the clear', async (t) => {
  const files = new Certificates(t);
  const { plane, count, origin } = await start(t, `certificates: [${files.server('a.example').files}]`);
  for (const request of [GET, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello']) {
    const client = await RawClient.open(t, plane.port);
    client.write(request);
    const answer = await client.end();
    t.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/, request.slice(0, 4));
    t.match(answer, '\r\nConnection: close\r\n');
    t.match(answer, /: this port speaks https\n$/);
    client.socket.destroy();
  }
  t.equal(count('tls_failed'), 2);
  const other = await RawClient.open(t, plane.port);
  other.write('SSH-2.0-OpenSSH_9.2p1\r\n');
  t.notMatch(await other.end(), 'HTTP', 'what is no HTTP gets no HTTP');
  await settled(() => count('connections') === 0);
  t.same(origin.received, []);
});

import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import t from 'tap';
import { settled } from '../../common/settled.ts';
import { answering, OK, Plane, RawClient, RawOrigin } from '../harness.ts';
import { Certificates, SecureClient } from './secure-client.ts';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

t.test('a ClientHello that is waited for: in pieces, of something else, and never', async (t) => {
  const files = new Certificates(t);
  const list = [files.server('a.example'), files.server('b.example')];
  const origin = await RawOrigin.start(t, answering(OK));
  const plane = await Plane.start(
    t,
    `
frontends:
  web: { bind: ["127.0.0.1:PORT"], pool: web, timeouts: { head: 5s }, tls: { certificates: [${list.map((one) => one.files).join(', ')}] } }
pools:
  web: { backends: { s1: { address: "127.0.0.1:${origin.port}" } } }
`,
  );
  const count = (name: 'tls_failed' | 'connections') => plane.control.frontendCounter(0, name);
  const mute = await RawClient.open(t, plane.port);
  t.equal(await mute.end(), '', 'it is cut off in time');
  await settled(() => count('tls_failed') === 1);
  const half = await RawClient.open(t, plane.port);
  half.write('\x16\x03\x01\x02\x00\x01');
  half.socket.end();
  await half.end();
  await settled(() => count('tls_failed') === 2);
  const broken = await RawClient.open(t, plane.port);
  broken.write('\x16\x03\x01\x02\x00\x01');
  await settled(() => count('connections') === 1);
  broken.socket.resetAndDestroy();
  await settled(() => count('tls_failed') === 3 && count('connections') === 0);
  const plain = await RawClient.open(t, plane.port);
  plain.write(GET);
  t.match(await plain.end(), /^HTTP\/1.1 400 .*this port speaks https/s, 'it is told in the clear');
  await settled(() => count('tls_failed') === 4 && count('connections') === 0);

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const tunnel = await RawClient.open(t, plane.port);
    tunnel.socket.removeAllListeners('data');
    // What the client's TLS writes goes out byte by byte; what comes back goes to it as it is.
    const pieces = new Duplex({
      read() {},
      write(bytes: Buffer, _encoding, done) {
        for (const byte of bytes) tunnel.socket.write(Buffer.of(byte));
        done();
      },
    });
    tunnel.socket.setNoDelay(true);
    tunnel.socket.on('data', (bytes) => pieces.push(bytes));
    const secure = connect({
      socket: pieces,
      servername: 'b.example',
      rejectUnauthorized: false,
      maxVersion,
    });
    let text = '';
    secure.on('data', (bytes) => {
      text += bytes;
    });
    secure.write(GET);
    await settled(() => text.endsWith('ok'));
    t.equal(secure.getPeerCertificate().subject.CN, 'b.example', maxVersion);
    secure.destroy();
    tunnel.socket.destroy();
  }
  const client = await SecureClient.open(t, plane.port, { servername: 'b.example' });
  t.equal(client.socket.getPeerCertificate().subject.CN, 'b.example');
  t.match(await client.ask(), 'ok');
});

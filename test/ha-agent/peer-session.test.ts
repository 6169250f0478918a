import t from 'tap';
import { type Heartbeat, NO_NONCE } from '../../ha-agent/heartbeat.ts';
import { PeerSession, renewedNonce } from '../../ha-agent/peer-session.ts';

const OWN = 'aaaaaaaaaaaaaaaa';
const OLD = '1111111111111111';
const NEW = '2222222222222222';

function heartbeat(nonce: string, counter: number, more: Partial<Heartbeat> = {}): Heartbeat {
  return {
    group: '1234567812345678',
    sectionDigests: '',
    role: 'active',
    priority: 100,
    epoch: 1,
    intervalMs: 100,
    healthy: true,
    request: false,
    probe: false,
    finishing: false,
    forwards: false,
    configDigest: NO_NONCE,
    nonce,
    echo: NO_NONCE,
    helloEcho: NO_NONCE,
    counter,
    path: 0,
    ...more,
  };
}
const fresh = (nonce: string, counter: number, path = 0) => heartbeat(nonce, counter, { echo: OWN, path });

t.test('a hello is answered with an echo, and proves nothing by itself', (t) => {
  const session = new PeerSession(OWN);
  t.equal(session.accept(heartbeat(NEW, 1)), 'hello');
  t.equal(session.helloEcho, NEW);
  t.equal(session.echo, NO_NONCE);
  t.equal(session.accept(heartbeat(NEW, 2, { helloEcho: OWN })), 'fresh');
  t.equal(session.echo, NEW);
  t.end();
});

t.test('the same datagram twice is a replay, on any path', (t) => {
  const session = new PeerSession(OWN);
  t.equal(session.accept(fresh(NEW, 5)), 'fresh');
  t.equal(session.accept(fresh(NEW, 5)), 'replay');
  t.equal(session.accept(fresh(NEW, 4)), 'replay');
  t.equal(session.accept(fresh(NEW, 5, 1)), 'late', 'the other path carries the same round');
  t.equal(session.accept(fresh(NEW, 5, 1)), 'replay');
  t.end();
});

t.test('a path may lag a little, not by much', (t) => {
  const session = new PeerSession(OWN);
  session.accept(fresh(NEW, 100));
  t.equal(session.accept(fresh(NEW, 90, 1)), 'late');
  t.equal(session.accept(fresh(NEW, 84, 2)), 'replay');
  t.end();
});

t.test('what was recorded before this process started is never fresh', (t) => {
  const session = new PeerSession(OWN);
  session.accept(fresh(NEW, 1));
  t.equal(session.accept(heartbeat(OLD, 900, { echo: 'bbbbbbbbbbbbbbbb' })), 'hello');
  t.equal(session.echo, NEW, 'the live peer is echoed all the same');
  t.end();
});

t.test('after a restart of the peer its former process is retired', (t) => {
  const session = new PeerSession(OWN);
  t.equal(session.accept(fresh(OLD, 1000)), 'fresh');
  t.equal(session.accept(fresh(NEW, 1)), 'fresh');
  t.equal(session.accept(fresh(OLD, 1001)), 'replay');
  t.equal(session.accept(fresh(NEW, 2)), 'fresh');
  t.end();
});

t.test('of two nonces of one process the newer one counts, in whatever order they come', (t) => {
  const session = new PeerSession(OWN);
  const first = '222222222222ffff';
  const second = renewedNonce(first);
  const third = renewedNonce(second);
  t.same([second, third], ['2222222222220000', '2222222222220001']);
  t.equal(session.accept(fresh(first, 1)), 'fresh');
  t.equal(session.accept(fresh(third, 3)), 'fresh');
  t.equal(session.accept(fresh(second, 2)), 'replay', 'it was overtaken');
  t.equal(session.accept(fresh(third, 4)), 'fresh');
  t.equal(session.echo, third);
  t.end();
});

t.test('after a pause only what answers to the new nonce is fresh', (t) => {
  const session = new PeerSession(OWN);
  session.accept(fresh(NEW, 1));
  session.renewOwnNonce('cccccccccccccccc');
  t.equal(session.accept(fresh(NEW, 2)), 'hello');
  t.equal(session.accept(heartbeat(NEW, 3, { echo: 'cccccccccccccccc' })), 'fresh');
  t.end();
});

t.test('a flood of recorded processes stays bounded and does not displace the live one', (t) => {
  const session = new PeerSession(OWN);
  session.accept(fresh(NEW, 1));
  for (let i = 0; i < 3000; i++) session.accept(heartbeat(i.toString(16).padStart(16, 'f'), 1));
  t.equal(session.accept(fresh(NEW, 1)), 'replay');
  t.equal(session.accept(fresh(NEW, 2)), 'fresh');
  t.end();
});

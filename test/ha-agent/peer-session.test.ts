import t from 'tap';
import { PeerSession, renewedNonce, type Stamp } from '../../ha-agent/peer-session.ts';

const OWN = 'aaaaaaaaaaaaaaaa';
const OLD = '1111111111111111';
const NEW = '2222222222222222';
const LIFETIME_MS = 1_000;

/** A heartbeat of a process whose clock runs with this one's; `echoMs` is what it heard last of this process. */
function stamp(
  nonce: string,
  counter: number,
  sentMs: number,
  echoMs?: number,
  more: Partial<Stamp> = {},
): Stamp {
  const echoes = echoMs === undefined ? [] : [{ nonce: OWN, sentMs: echoMs }];
  return { version: 3, role: 'standby', ahead: false, path: 0, nonce, counter, sentMs, echoes, ...more };
}

function createSession(drawnMs: (nonce: string) => number | undefined = () => undefined) {
  const session = new PeerSession({ nonce: OWN, drawnMs });
  return {
    session,
    accept: (one: Stamp, now: number) => session.accept(one, now, LIFETIME_MS),
    echoed: (now: number) => session.echoes(now, LIFETIME_MS).map(({ nonce }) => nonce),
  };
}

t.test('a hello is answered with an echo, and proves nothing by itself', (t) => {
  const { session, accept } = createSession();
  t.equal(accept(stamp(NEW, 1, 7000), 100), 'hello');
  t.equal(session.current, undefined);
  t.same(session.echoes(100, LIFETIME_MS), [{ nonce: NEW, sentMs: 7000 }]);
  t.equal(accept(stamp(NEW, 2, 7010, 100), 110), 'fresh');
  t.equal(session.current, NEW);
  t.end();
});

t.test('the same datagram twice is a replay, on any path', (t) => {
  const { accept } = createSession();
  const one = stamp(NEW, 5, 100, 90);
  t.equal(accept(one, 100), 'fresh');
  t.equal(accept(one, 101), 'replay');
  t.equal(accept({ ...one, counter: 4 }, 102), 'replay');
  t.equal(accept({ ...one, path: 1 }, 103), 'late', 'the other path carries the same round');
  t.equal(accept({ ...one, path: 1 }, 104), 'replay');
  t.end();
});

t.test('a path may lag a little, not by much', (t) => {
  const { accept } = createSession();
  accept(stamp(NEW, 100, 100, 90), 100);
  t.equal(accept(stamp(NEW, 90, 90, 80, { path: 1 }), 101), 'late');
  t.equal(accept(stamp(NEW, 84, 84, 80, { path: 2 }), 102), 'replay');
  t.end();
});

t.test('what was said before this process asked is never fresh', (t) => {
  const { session, accept } = createSession();
  accept(stamp(NEW, 1, 100, 90), 100);
  const other = { nonce: 'bbbbbbbbbbbbbbbb', sentMs: 100 };
  t.equal(accept({ ...stamp(OLD, 900, 100), echoes: [other] }, 110), 'hello');
  t.equal(session.current, NEW);
  t.end();
});

t.test('an echo is evidence for its lifetime', (t) => {
  const { accept } = createSession();
  t.equal(accept(stamp(OLD, 1, 5000, 90), 1091), 'hello', 'of a process that may be gone by now');
  t.equal(accept(stamp(OLD, 2, 5001, 91), 1091), 'fresh');
  t.end();
});

t.test('a peer that does not hear this node any more is heard as long as its clock goes on', (t) => {
  const { accept } = createSession();
  accept(stamp(NEW, 1, 50_000, 90), 100);
  for (let i = 1; i < 100; i++)
    t.equal(accept(stamp(NEW, 1 + i, 50_000 + i * 100, 90), 100 + i * 100), 'fresh');
  t.end();
});

t.test('its datagrams that were held back are too old, however they are paced', (t) => {
  const { accept } = createSession();
  accept(stamp(NEW, 1, 50_000, 90), 100);
  // 100 rounds of a time in which nothing came through, and then the peer died.
  t.equal(accept(stamp(NEW, 2, 50_100, 90), 10_100), 'hello');
  t.equal(accept(stamp(NEW, 50, 55_000, 90), 10_200), 'hello');
  t.equal(accept(stamp(NEW, 99, 59_900, 90), 10_300), 'fresh', 'that is how long it did live');
  t.equal(accept(stamp(NEW, 100, 60_000, 90), 11_200), 'hello');
  t.end();
});

t.test('the clocks of two nodes may drift', (t) => {
  const { accept } = createSession();
  accept(stamp(NEW, 1, 0, 90), 100);
  for (let i = 1; i < 5_000; i++)
    if (accept(stamp(NEW, 1 + i, i * 100.1, 90), 100 + i * 100) !== 'fresh') return t.fail(`heartbeat ${i}`);
  const ageMs = LIFETIME_MS + 100;
  t.equal(accept(stamp(NEW, 5_001, 5_000 * 100.1, 90), 500_100 + ageMs), 'hello', 'and make nothing younger');
  t.end();
});

t.test('after a pause only what was said since is fresh', (t) => {
  const { session, accept } = createSession();
  accept(stamp(NEW, 1, 100, 90), 100);
  session.forgetBefore(800);
  t.equal(accept(stamp(NEW, 2, 700, 90), 801), 'hello');
  t.equal(accept(stamp(NEW, 3, 811, 90), 812), 'fresh');
  t.end();
});

t.test('after a restart of the peer its former process is gone for good', (t) => {
  const { session, accept } = createSession();
  t.equal(accept(stamp(OLD, 1000, 100, 90), 100), 'fresh');
  t.equal(accept(stamp(NEW, 1, 300, 290), 300), 'fresh');
  t.equal(accept(stamp(OLD, 1001, 200, 190), 310), 'replay');
  t.equal(accept(stamp(OLD, 1002, 290, 280), 311), 'replay');
  t.equal(accept(stamp(NEW, 2, 400, 390), 400), 'fresh');
  t.equal(session.current, NEW);
  t.end();
});

t.test('a new process to which something old was played back is asked, and counts once it answers', (t) => {
  const { session, accept, echoed } = createSession();
  t.equal(accept(stamp(OLD, 1, 900, 890), 900), 'fresh');
  t.equal(
    accept(stamp(NEW, 1, 50, 400), 1_000),
    'hello',
    'it heard nothing that the former one had not heard',
  );
  t.ok(echoed(1_001).includes(NEW));
  t.equal(session.current, OLD);
  t.equal(accept(stamp(NEW, 2, 53, 1_001), 1_003), 'fresh');
  t.equal(session.current, NEW);
  t.end();
});

t.test('a process that this node never heard while it lived is not made current by its datagrams', (t) => {
  const { session, accept } = createSession();
  // It was cut off in one direction, and heard this node.
  const recorded = [100, 200, 300, 400].map((ms, i) => stamp(OLD, 1 + i, ms, ms - 10));
  t.equal(accept(stamp(NEW, 1, 1_000, 990), 1_000), 'fresh');
  for (const one of recorded) t.match(accept(one, 1_010), /replay|hello/);
  t.equal(session.current, NEW);
  t.equal(accept(stamp(NEW, 2, 1_100, 1_090), 1_100), 'fresh');
  t.end();
});

t.test('recorded processes do not keep a new one waiting for its echo', (t) => {
  const { accept, echoed } = createSession();
  for (let i = 0; i < 40; i++) accept(stamp(i.toString(16).padStart(16, 'f'), 1, 100), 100);
  for (let i = 0; i < 20; i++) echoed(110);
  accept(stamp(NEW, 1, 110), 110);
  for (let i = 0; i < 40; i++) accept(stamp(i.toString(16).padStart(16, 'f'), 2, 110), 111);
  t.ok(echoed(112).includes(NEW));
  t.end();
});

t.test('a flood of recorded processes stays bounded and does not displace the live one', (t) => {
  const { accept } = createSession();
  accept(stamp(NEW, 1, 100, 90), 100);
  for (let i = 0; i < 3000; i++) accept(stamp(i.toString(16).padStart(16, 'f'), 1, 100), 110);
  t.equal(accept(stamp(NEW, 1, 100, 90), 120), 'replay');
  t.equal(accept(stamp(NEW, 2, 120, 110), 120), 'fresh');
  t.end();
});

t.test('a farewell made in advance is heard, and no clock is set by it', (t) => {
  const { session, accept } = createSession();
  accept(stamp(NEW, 1, 5_000, 90), 100);
  t.equal(accept(stamp(NEW, 17, 6_200, 90, { ahead: true }), 1_000), 'fresh');
  t.same(session.echoes(1_000, LIFETIME_MS), [{ nonce: NEW, sentMs: 5_000 }]);
  t.equal(accept(stamp(NEW, 40, 6_000, 90), 1_100), 'fresh');
  t.end();
});

t.test('after a pause a farewell that waited is no news', (t) => {
  const { session, accept } = createSession();
  t.equal(accept(stamp(NEW, 1, 100, 90), 100), 'fresh');
  session.forgetBefore(900);
  t.equal(accept(stamp(NEW, 17, 1_700, 90, { ahead: true }), 900), 'hello');
  t.equal(
    accept(stamp(NEW, 18, 1_700, 905, { ahead: true }), 910),
    'fresh',
    'its sender has heard that this node goes on',
  );
  t.end();
});

t.test('two live processes of one name are told, and one of them is listened to', (t) => {
  const { session, accept } = createSession();
  const turn = (nonce: string, i: number, role: Stamp['role'] = 'standby') =>
    accept(stamp(nonce, i, i * 10, i * 10 - 5, { role }), i * 10);
  for (let i = 1; i < 8; i++) turn(i % 2 === 0 ? OLD : NEW, i);
  t.ok(session.hasTwins(80, LIFETIME_MS));
  const heard = [8, 9, 10, 11].map((i) => turn(i % 2 === 0 ? OLD : NEW, i));
  t.same(heard, ['twin', 'fresh', 'twin', 'fresh'], 'the greater one');
  t.equal(turn(OLD, 12, 'active'), 'fresh', 'unless the other one is active');
  t.equal(turn(NEW, 13), 'twin');
  t.end();
});

t.test('a datagram that was overtaken by a restart makes no twins', (t) => {
  const { session, accept } = createSession();
  accept(stamp(OLD, 1, 100, 90), 100);
  accept(stamp(NEW, 1, 200, 95), 200);
  accept(stamp(OLD, 2, 150, 100), 201);
  accept(stamp(NEW, 2, 210, 200), 210);
  t.notOk(session.hasTwins(211, LIFETIME_MS));
  t.equal(session.current, NEW);
  t.end();
});

/** Of the last release: a nonce stands for the time at which it was drawn. */
function v2(nonce: string, counter: number, echo?: string): Stamp {
  const echoes = echo === undefined ? [] : [{ nonce: echo, sentMs: 0 }];
  return { version: 2, role: 'standby', ahead: false, path: 0, nonce, counter, sentMs: 0, echoes };
}

t.test(
  'last release: of two nonces of one process the newer one counts, in whatever order they come',
  (t) => {
    const { session, accept } = createSession(() => 50);
    const first = '222222222222ffff';
    const second = renewedNonce(first);
    const third = renewedNonce(second);
    t.same([second, third], ['2222222222220000', '2222222222220001']);
    t.equal(accept(v2(first, 1, OWN), 100), 'fresh');
    t.equal(accept(v2(third, 3, OWN), 110), 'fresh');
    t.equal(accept(v2(second, 2, OWN), 120), 'replay', 'it was overtaken');
    t.equal(accept(v2(third, 4, OWN), 130), 'fresh');
    t.equal(session.current, third);
    t.end();
  },
);

t.test(
  'last release: a nonce that is not the latest one proves nothing, but for who is heard without a gap',
  (t) => {
    let drawn = new Map([[OWN, 50]]);
    const { session, accept } = createSession((nonce) => drawn.get(nonce) ?? Number.NaN);
    t.equal(accept(v2(NEW, 1, OWN), 100), 'fresh');
    drawn = new Map([[renewedNonce(OWN), 150]]);
    t.equal(accept(v2(OLD, 1, OWN), 200), 'hello');
    t.equal(accept(v2(NEW, 2, OWN), 200), 'fresh');
    t.equal(accept(v2(NEW, 3, OWN), 1_300), 'hello', 'there was a gap');
    t.equal(session.isProven(1_300, LIFETIME_MS), false, 'so it is asked anew');
    t.end();
  },
);

t.test('last release: a dead process whose nonce was renewed unheard does not come back', (t) => {
  let own = { nonce: OWN, drawnMs: 50 };
  const { session, accept } = createSession((nonce) => (nonce === own.nonce ? own.drawnMs : Number.NaN));
  const first = '3333333333330000';
  const unheard = v2(renewedNonce(first), 7, OWN);
  t.equal(accept(v2(first, 1, OWN), 100), 'fresh');
  t.equal(accept(v2(NEW, 1, OWN), 500), 'hello', 'nothing shows yet that it is the later one');
  own = { nonce: renewedNonce(OWN), drawnMs: 500 };
  t.equal(accept(v2(NEW, 2, own.nonce), 600), 'fresh');
  t.equal(accept(unheard, 610), 'hello');
  t.equal(session.current, NEW);
  t.equal(accept(v2(NEW, 3, own.nonce), 620), 'fresh');
  t.end();
});

t.test('last release: after a pause one datagram that waited does not make the next one count', (t) => {
  let drawn = new Map([[OWN, 50]]);
  const { session, accept } = createSession((nonce) => drawn.get(nonce) ?? Number.NaN);
  t.equal(accept(v2(NEW, 1, OWN), 100), 'fresh');
  session.forgetBefore(900);
  drawn = new Map([[renewedNonce(OWN), 900]]);
  t.equal(accept(v2(NEW, 2, OWN), 900), 'hello');
  t.equal(accept(v2(NEW, 3, OWN), 900), 'hello');
  t.equal(accept(v2(NEW, 4, renewedNonce(OWN)), 910), 'fresh', 'it has heard that this process goes on');
  t.end();
});

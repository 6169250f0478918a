import t from 'tap';
import { SECRET_LIFE_MS, TicketRing } from '../../../lbd/tls/ticket-ring.ts';

const HOUR_MS = 3_600_000;
const hex = (ring: TicketRing, nowMs: number) => ring.secrets(nowMs).map((secret) => secret.toString('hex'));

t.test('every start has secrets of its own', async (t) => {
  const rings = Array.from({ length: 100 }, () => new TicketRing(0));
  t.equal(new Set(rings.flatMap((ring) => hex(ring, 0))).size, 100);
});

t.test('a secret seals for an hour, opens for one more, and is erased', async (t) => {
  const ring = new TicketRing(0);
  t.ok(ring.tick(0, true), 'the first look tells');
  const [first] = hex(ring, 0);
  const [buffer] = ring.secrets(0);
  t.notOk(ring.tick(HOUR_MS - 1, true));
  t.ok(ring.tick(HOUR_MS, true));
  const [second, former] = hex(ring, HOUR_MS);
  t.not(second, first);
  t.equal(former, first);
  ring.tick(SECRET_LIFE_MS - 1, true);
  t.ok(hex(ring, SECRET_LIFE_MS - 1).includes(first!));
  t.ok(ring.tick(SECRET_LIFE_MS, true));
  t.notOk(hex(ring, SECRET_LIFE_MS).includes(first!));
  t.same(buffer, Buffer.alloc(32));
  t.ok(hex(ring, 10 * SECRET_LIFE_MS).length > 0, 'it is never without one');
});

t.test('both nodes seal with the same secret once they have met, and open all', async (t) => {
  const [a, b] = [new TicketRing(0), new TicketRing(5000)];
  t.ok(b.merge(a.encode(6000), 6001));
  t.ok(a.merge(b.encode(6000), 6001));
  t.notOk(a.merge(b.encode(6500), 6501), 'nothing new');
  t.same(hex(a, 7000), hex(b, 7000));
  for (let nowMs = 0; nowMs < 5 * HOUR_MS; nowMs += 10_000) {
    if (a.tick(nowMs, true)) b.merge(a.encode(nowMs), nowMs);
    b.tick(nowMs, false);
    // Around a change each may be a moment ahead.
    const [ofA, ofB] = [hex(a, nowMs), hex(b, nowMs)];
    if (!ofA.includes(ofB[0]!) || !ofB.includes(ofA[0]!)) t.fail(`cannot open all at ${nowMs}`);
  }
  t.ok(hex(a, 5 * HOUR_MS).length <= 4);
});

t.test('a standby whose active node makes none makes one a minute later', async (t) => {
  const ring = new TicketRing(0);
  ring.tick(0, false);
  const [first] = hex(ring, 0);
  ring.tick(HOUR_MS + 59_000, false);
  t.equal(hex(ring, HOUR_MS + 59_000)[0], first);
  ring.tick(HOUR_MS + 61_000, false);
  t.not(hex(ring, HOUR_MS + 61_000)[0], first);
});

t.test('a peer that tells nonsense, or without end, changes little', async (t) => {
  const ring = new TicketRing(0);
  const [own] = hex(ring, 0);
  const one = JSON.parse(new TicketRing(0).encode(0).toString())[0];
  for (const told of [
    null,
    [null],
    [{ ...one, id: 'x' }],
    [{ ...one, secret: 'AAAA' }],
    [{ ...one, age: -1 }],
    [{ ...one, age: 1e12 }],
    Array.from({ length: 17 }, () => one),
  ])
    t.throws(() => ring.merge(Buffer.from(JSON.stringify(told)), 0), JSON.stringify(told).slice(0, 60));
  t.throws(() => ring.merge(Buffer.from('x'), 0));
  for (let i = 0; i < 100; i++) ring.merge(new TicketRing(i).encode(i), i);
  t.equal(hex(ring, 100).length, 16);
  t.ok(hex(ring, 100).includes(own!));
  ring.tick(HOUR_MS * 1.5, true);
  t.equal(hex(ring, HOUR_MS * 1.5).length, 16, 'a new one finds room');
});

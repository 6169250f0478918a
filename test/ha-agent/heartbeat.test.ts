import fc from 'fast-check';
import t from 'tap';
import { type EnvelopeKey, seal, writeSectionHead } from '../../ha-agent/envelope.ts';
import {
  createIdentity,
  type DropCause,
  decodeHeartbeat,
  encodeHeartbeat,
  groupHash,
  type Heartbeat,
  NO_NONCE,
  onPath,
} from '../../ha-agent/heartbeat.ts';
import { seemsOfPeer } from '../../ha-agent/heartbeat-v2.ts';

const KEY = Buffer.alloc(32, 7);
const OTHER_KEY = Buffer.alloc(32, 8);
const LB1 = createIdentity(KEY, 'shop', 'lb1', 'lb2');
const LB2 = createIdentity(KEY, 'shop', 'lb2', 'lb1');
const SAMPLE: Heartbeat = {
  version: 3,
  group: groupHash('blue'),
  sectionDigests: 'ab'.repeat(40),
  role: 'active',
  priority: 150,
  epoch: 4_000_000_000,
  intervalMs: 60_000,
  healthy: true,
  request: false,
  probe: true,
  finishing: false,
  forwards: true,
  ask: false,
  ahead: false,
  configDigest: '0123456789abcdef',
  nonce: 'fedcba9876543210',
  counter: 2 ** 48 - 1,
  sentMs: 123_456,
  path: 255,
  echoes: [{ nonce: '1111111111111111', sentMs: 99 }],
  keys: ['01234567'],
  paths: ['89abcdef', 'ffffffff'],
  deadTimeMs: 400,
  servedMs: 12_000,
  instance: 'fedcba9876543210',
  lease: { held: true, reachesWitness: false, isBound: true, sentMs: 17, heardSentMs: 2 ** 48 - 1 },
};

t.test('what was encoded is decoded', (t) => {
  const hex = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`));
  const clock = fc.integer({ min: 0, max: 2 ** 48 - 1 });
  const heartbeats = fc.record<Heartbeat, keyof Heartbeat>(
    {
      version: fc.constant(3 as const),
      group: hex(16),
      sectionDigests: hex(80),
      role: fc.constantFrom('init', 'standby', 'active', 'fault'),
      priority: fc.integer({ min: 0, max: 254 }),
      epoch: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      intervalMs: fc.integer({ min: 10, max: 60_000 }),
      healthy: fc.boolean(),
      request: fc.boolean(),
      probe: fc.boolean(),
      finishing: fc.boolean(),
      forwards: fc.boolean(),
      ask: fc.boolean(),
      ahead: fc.boolean(),
      configDigest: hex(16),
      nonce: hex(16).filter((text) => text !== NO_NONCE),
      counter: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
      sentMs: clock,
      path: fc.integer({ min: 0, max: 255 }),
      echoes: fc.array(fc.record({ nonce: hex(16), sentMs: clock }), { maxLength: 8 }),
      keys: fc.array(hex(8), { maxLength: 4 }),
      paths: fc.array(hex(8), { maxLength: 40 }),
      deadTimeMs: fc.integer({ min: 0, max: 6_000_000 }),
      servedMs: clock,
      instance: hex(16),
      lease: fc.record({
        held: fc.boolean(),
        reachesWitness: fc.boolean(),
        isBound: fc.boolean(),
        sentMs: clock,
        heardSentMs: clock,
      }),
    },
    {
      requiredKeys: [
        ...(['version', 'group', 'sectionDigests', 'role', 'priority', 'epoch', 'intervalMs'] as const),
        ...(['healthy', 'request', 'probe', 'finishing', 'forwards', 'ask', 'ahead', 'path'] as const),
        ...(['configDigest', 'nonce', 'counter', 'sentMs', 'echoes', 'keys', 'paths'] as const),
      ],
    },
  );
  fc.assert(
    fc.property(heartbeats, (heartbeat) => {
      const decoded = decodeHeartbeat(LB2, encodeHeartbeat(LB1, heartbeat));
      t.same(decoded, { ok: true, heartbeat, self: false, keyId: LB1.keys[0]!.id });
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('for another path it is as if it was made for that one', (t) => {
  const [key] = LB1.keys as readonly [EnvelopeKey];
  for (const path of [0, 1, 255]) {
    const made = encodeHeartbeat(LB1, { ...SAMPLE, path }, key);
    t.same(onPath(encodeHeartbeat(LB1, { ...SAMPLE, path: 7 }, key), path, key), made);
  }
  t.end();
});

t.test('one that would be too long is not made', (t) => {
  t.throws(() => encodeHeartbeat(LB1, { ...SAMPLE, sectionDigests: 'ab'.repeat(1_100) }), RangeError);
  t.end();
});

/** Sections of the heartbeat in the making, to be changed. */
function sectionsOf(data: Buffer): Map<number, Buffer> {
  const sections = new Map<number, Buffer>();
  for (let at = 32; at < data.length - 32; ) {
    const end = at + 3 + data.readUInt16BE(at + 1);
    sections.set(data[at]!, data.subarray(at + 3, end));
    at = end;
  }
  return sections;
}

/** Signed well, with other content. */
function resealed(change: (sections: Map<number, Buffer>) => void, kind = 1): Buffer {
  const sections = sectionsOf(encodeHeartbeat(LB1, SAMPLE));
  change(sections);
  return seal(LB1, LB1.keys[0]!, kind, (out, at) => {
    let next = at;
    for (const [type, value] of sections) {
      next = writeSectionHead(out, next, type, value.length);
      next += value.copy(out, next);
    }
    return next;
  });
}

t.test('a later version may say more: it is read as far as it is known', (t) => {
  const later = resealed((sections) => {
    const state = Buffer.concat([sections.get(1)!, Buffer.alloc(9, 1)]);
    state.writeUInt16BE(state.readUInt16BE(2) | 0x8000, 2);
    sections.set(1, state);
    sections.set(2, Buffer.concat([sections.get(2)!, Buffer.alloc(2, 7)]));
    sections.set(200, Buffer.alloc(300));
  });
  t.match(decodeHeartbeat(LB2, later), { ok: true, heartbeat: SAMPLE });
  t.end();
});

t.test('what is optional may be missing, short or out of range', (t) => {
  const less = resealed((sections) => {
    for (const type of [3, 4, 5, 6, 17, 18]) sections.delete(type);
    sections.set(16, Buffer.from([0xff, 0xff, 0xff, 0xff]));
    sections.set(19, Buffer.alloc(3));
  });
  const decoded = decodeHeartbeat(LB2, less);
  t.match(decoded, { ok: true, heartbeat: { echoes: [], keys: [], paths: [], configDigest: '' } });
  for (const name of ['deadTimeMs', 'servedMs', 'instance', 'lease'])
    t.notOk(decoded.ok && name in decoded.heartbeat, name);
  t.end();
});

t.test('what any of the keys has signed is accepted, and told apart', (t) => {
  const both = createIdentity([OTHER_KEY, KEY], 'shop', 'lb2', 'lb1');
  t.match(decodeHeartbeat(both, encodeHeartbeat(LB1, SAMPLE)), { ok: true, keyId: LB1.keys[0]!.id });
  const [first, second] = both.keys as readonly [EnvelopeKey, EnvelopeKey];
  const data = encodeHeartbeat(createIdentity([OTHER_KEY, KEY], 'shop', 'lb1', 'lb2'), SAMPLE, first);
  t.match(decodeHeartbeat(both, data), { ok: true, keyId: first.id });
  t.same(decodeHeartbeat(LB2, data), { ok: false, cause: 'key' });
  t.equal(second.id, LB1.keys[0]!.id);
  t.end();
});

t.test('a datagram that claims this node is read, and said to be one', (t) => {
  t.match(decodeHeartbeat(LB1, encodeHeartbeat(LB1, SAMPLE)), { ok: true, self: true });
  t.end();
});

const good = encodeHeartbeat(LB1, SAMPLE);

function changed(at: number, value: number): Buffer {
  const data = Buffer.from(good);
  data[at] = value;
  return data;
}

const REFUSED: readonly (readonly [name: string, data: Buffer, cause: DropCause])[] = [
  ['empty', Buffer.alloc(0), 'truncated'],
  ['header only', good.subarray(0, 40), 'truncated'],
  ['one byte short', good.subarray(0, good.length - 1), 'malformed'],
  ['one byte more', Buffer.concat([good, Buffer.alloc(1)]), 'malformed'],
  ['another protocol', changed(0, 0), 'magic'],
  ['another version', changed(4, 9), 'version'],
  ['another cluster', encodeHeartbeat(createIdentity(KEY, 'bank', 'lb1', 'lb2'), SAMPLE), 'cluster'],
  ['a third node', encodeHeartbeat(createIdentity(KEY, 'shop', 'lb3', 'lb2'), SAMPLE), 'sender'],
  ['another secret', encodeHeartbeat(createIdentity(OTHER_KEY, 'shop', 'lb1', 'lb2'), SAMPLE), 'key'],
  ['a forged signature', changed(good.length - 1, good.at(-1)! ^ 1), 'auth'],
  ['signed, another kind', resealed(() => {}, 2), 'malformed'],
  ['signed, no state', resealed((sections) => sections.delete(1)), 'malformed'],
  ['signed, half a stamp', resealed((sections) => sections.set(2, Buffer.alloc(20, 1))), 'malformed'],
  ['signed, no such role', resealed((sections) => sections.get(1)!.fill(9, 0, 1)), 'malformed'],
  ['signed, priority 255', encodeHeartbeat(LB1, { ...SAMPLE, priority: 255 }), 'malformed'],
  ['signed, interval 0', encodeHeartbeat(LB1, { ...SAMPLE, intervalMs: 0 }), 'malformed'],
  ['signed, counter 0', encodeHeartbeat(LB1, { ...SAMPLE, counter: 0 }), 'malformed'],
  ['signed, no nonce', encodeHeartbeat(LB1, { ...SAMPLE, nonce: NO_NONCE }), 'malformed'],
];

for (const [name, data, cause] of REFUSED)
  t.test(`refused: ${name}`, (t) => {
    t.same(decodeHeartbeat(LB2, data), { ok: false, cause });
    t.end();
  });

t.test('no bit can be flipped unnoticed, but in what is not looked at yet signed', (t) => {
  for (let bit = 0; bit < good.length * 8; bit++) {
    const data = Buffer.from(good);
    data[bit >> 3]! ^= 1 << (bit & 7);
    if (decodeHeartbeat(LB2, data).ok) t.fail(`bit ${bit} was flipped and not noticed`);
  }
  t.pass();
  t.end();
});

t.test('random bytes behind a good header never throw', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 400 }), (bytes) => {
      const data = Buffer.concat([good.subarray(0, 32), bytes]);
      if (data.length > 8) data.writeUInt16BE(data.length, 6);
      t.equal(decodeHeartbeat(LB2, data).ok, false);
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('whom a datagram that cannot be read names, now and in later versions', (t) => {
  const secret = encodeHeartbeat(createIdentity(OTHER_KEY, 'shop', 'lb1', 'lb2'), SAMPLE);
  t.equal(seemsOfPeer(LB2, secret), true);
  const later = Buffer.from(good);
  later[4] = 7;
  t.equal(seemsOfPeer(LB2, later), true);
  t.equal(seemsOfPeer(LB1, good), false, 'its own name');
  t.equal(seemsOfPeer(LB2, good.subarray(0, 30)), false);
  t.equal(seemsOfPeer(LB2, changed(0, 0)), false);
  t.end();
});

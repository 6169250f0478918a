import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import {
  createIdentity,
  type Decoded,
  type DropCause,
  groupHash,
  type Heartbeat,
  NO_NONCE,
} from '../../ha-agent/heartbeat.ts';
import { decodeV2, encodeV2, seemsOfPeer, V2_BYTES, v2OnPath, v2Stamp } from '../../ha-agent/heartbeat-v2.ts';

const KEY = Buffer.alloc(32, 7);
const LB1 = createIdentity(KEY, 'shop', 'lb1', 'lb2');
const LB2 = createIdentity(KEY, 'shop', 'lb2', 'lb1');
const NONCE = 'fedcba9876543210';
const SAMPLE: Omit<Heartbeat, 'nonce'> = {
  version: 2,
  group: groupHash('blue'),
  sectionDigests: 'ab'.repeat(34),
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
  counter: 2 ** 48 - 1,
  sentMs: 0,
  path: 127,
  echoes: [{ nonce: '1111111111111111', sentMs: 0 }],
  keys: [LB1.keys[0]!.id],
  paths: [],
};
const STAMP = v2Stamp(NONCE, SAMPLE.echoes);
const good = encodeV2(LB1, SAMPLE, STAMP);
/** Written by the last release for `SAMPLE`. */
const OF_LAST_RELEASE = Buffer.from(
  `544e444d021502967f00ea60ee6b2800da4a3a7ebe991a71241467df0c95f2200123456789abcdeffedcba9876543210
   111111111111111100000000000000000000ffffffffffffcc1c83ecad7d9f77${'ab'.repeat(34)}000000000000
   1138e2331a4fbf0e6ad105ecddce375b0df28543833bc903c277d98eb171ed2f`.replaceAll(/\s/g, ''),
  'hex',
);

function sign(data: Buffer): Buffer {
  const mac = createHmac('sha256', KEY)
    .update(data.subarray(0, V2_BYTES - 32))
    .digest();
  return Buffer.concat([data.subarray(0, V2_BYTES - 32), mac]);
}

function changed(at: number, value: number): Buffer {
  const data = Buffer.from(good);
  data[at] = value;
  return data;
}

function read(decoded: Decoded): Heartbeat {
  if (!decoded.ok) throw new Error(decoded.cause);
  return decoded.heartbeat;
}

t.test('for another path it is as if it was made for that one', (t) => {
  for (const path of [0, 1, 127])
    t.same(v2OnPath(good, path, LB1.keys[0]!), encodeV2(LB1, { ...SAMPLE, path }, STAMP));
  t.end();
});

t.test('what was encoded is decoded', (t) => {
  const hex = fc.stringMatching(/^[0-9a-f]{16}$/).filter((text) => text !== NO_NONCE);
  const samples = fc.record({
    group: hex,
    role: fc.constantFrom('init' as const, 'standby' as const, 'active' as const, 'fault' as const),
    priority: fc.integer({ min: 0, max: 254 }),
    epoch: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    intervalMs: fc.integer({ min: 10, max: 60_000 }),
    healthy: fc.boolean(),
    request: fc.boolean(),
    probe: fc.boolean(),
    finishing: fc.boolean(),
    forwards: fc.boolean(),
    ask: fc.boolean(),
    configDigest: hex,
    counter: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
    path: fc.integer({ min: 0, max: 127 }),
  });
  fc.assert(
    fc.property(samples, hex, fc.array(hex, { maxLength: 2 }), (sample, nonce, echoed) => {
      const echoes = echoed.map((nonce) => ({ nonce, sentMs: 0 }));
      const heartbeat = { ...SAMPLE, ...sample, echoes };
      const data = encodeV2(LB1, heartbeat, v2Stamp(nonce, echoes));
      t.equal(data.length, V2_BYTES);
      t.same(read(decodeV2(LB2, data)), { ...heartbeat, nonce });
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('it is what the last release writes, with a mark where that one does not look', (t) => {
  t.match(decodeV2(LB2, OF_LAST_RELEASE), {
    ok: true,
    marked: false,
    heartbeat: { ...SAMPLE, nonce: NONCE },
  });
  t.match(decodeV2(LB2, good), { ok: true, marked: true, heartbeat: { ...SAMPLE, nonce: NONCE } });
  t.same(sign(changed(8, 127)), OF_LAST_RELEASE);
  t.end();
});

t.test('processes of this release are not echoed: the last one would not know what to do with them', (t) => {
  const echoes = [
    { nonce: '1'.repeat(16), sentMs: 77 },
    { nonce: '2'.repeat(16), sentMs: 0 },
  ];
  t.same(v2Stamp(NONCE, echoes), { nonce: NONCE, echo: '2'.repeat(16), helloEcho: NO_NONCE });
  t.end();
});

const OTHERS = (cluster: string, self: string, key = KEY) =>
  encodeV2(createIdentity(key, cluster, self, 'lb2'), SAMPLE, STAMP);
const REFUSED: readonly (readonly [name: string, data: Buffer, cause: DropCause])[] = [
  ['one byte short', good.subarray(0, V2_BYTES - 1), 'truncated'],
  ['one byte more', Buffer.concat([good, Buffer.alloc(1)]), 'malformed'],
  ['another cluster', OTHERS('bank', 'lb1'), 'cluster'],
  ['a third node', OTHERS('shop', 'lb3'), 'sender'],
  ['another secret', OTHERS('shop', 'lb1', Buffer.alloc(32, 8)), 'auth'],
  ['signed, no such role', sign(changed(6, 9)), 'malformed'],
  ['signed, no such flag', sign(changed(5, 0x80)), 'malformed'],
  ['signed, more sections', sign(changed(V2_BYTES - 33, 1)), 'malformed'],
  ['signed, priority 255', sign(changed(7, 255)), 'malformed'],
  ['signed, interval 0', encodeV2(LB1, { ...SAMPLE, intervalMs: 0 }, STAMP), 'malformed'],
  ['signed, counter 0', encodeV2(LB1, { ...SAMPLE, counter: 0 }, STAMP), 'malformed'],
  ['signed, no nonce', encodeV2(LB1, SAMPLE, { ...STAMP, nonce: NO_NONCE }), 'malformed'],
];

for (const [name, data, cause] of REFUSED)
  t.test(`refused: ${name}`, (t) => {
    t.same(decodeV2(LB2, data), { ok: false, cause });
    t.end();
  });

t.test('no bit can be flipped unnoticed', (t) => {
  for (let bit = 0; bit < V2_BYTES * 8; bit++) {
    const data = Buffer.from(good);
    data[bit >> 3]! ^= 1 << (bit & 7);
    if (decodeV2(LB2, data).ok) t.fail(`bit ${bit} was flipped and not noticed`);
  }
  t.pass();
  t.end();
});

t.test('whom a datagram with a wrong signature names', (t) => {
  t.equal(seemsOfPeer(LB2, OTHERS('shop', 'lb1', Buffer.alloc(32, 8))), true);
  t.equal(seemsOfPeer(LB2, OTHERS('shop', 'lb3')), false);
  t.equal(seemsOfPeer(LB2, OTHERS('bank', 'lb1')), false);
  t.end();
});

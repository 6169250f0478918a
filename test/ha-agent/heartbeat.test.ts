import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { SECTION_DIGEST_BYTES } from '../../common/digest.ts';
import {
  createIdentity,
  type DropCause,
  decodeHeartbeat,
  encodeHeartbeat,
  groupHash,
  HEARTBEAT_BYTES,
  type Heartbeat,
} from '../../ha-agent/heartbeat.ts';

const KEY = Buffer.alloc(32, 7);
const LB1 = createIdentity(KEY, 'shop', 'lb1', 'lb2');
const LB2 = createIdentity(KEY, 'shop', 'lb2', 'lb1');
const SAMPLE: Heartbeat = {
  group: groupHash('blue'),
  sectionDigests: 'ab'.repeat(SECTION_DIGEST_BYTES),
  role: 'active',
  priority: 150,
  epoch: 4_000_000_000,
  intervalMs: 60_000,
  healthy: true,
  request: false,
  probe: true,
  finishing: false,
  forwards: true,
  configDigest: '0123456789abcdef',
  nonce: 'fedcba9876543210',
  echo: '0000000000000000',
  helloEcho: '1111111111111111',
  counter: 2 ** 48 - 1,
  path: 255,
};

function sign(data: Buffer): Buffer {
  const mac = createHmac('sha256', KEY)
    .update(data.subarray(0, HEARTBEAT_BYTES - 32))
    .digest();
  return Buffer.concat([data.subarray(0, HEARTBEAT_BYTES - 32), mac]);
}

function changed(at: number, value: number): Buffer {
  const data = encodeHeartbeat(LB1, SAMPLE);
  data[at] = value;
  return data;
}

t.test('what was encoded is decoded', (t) => {
  const hex = fc.stringMatching(/^[0-9a-f]{16}$/);
  const heartbeats: fc.Arbitrary<Heartbeat> = fc.record({
    group: hex,
    sectionDigests: fc.stringMatching(new RegExp(`^[0-9a-f]{${2 * SECTION_DIGEST_BYTES}}$`)),
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
    configDigest: hex,
    nonce: hex.filter((text) => !/^0+$/.test(text)),
    echo: hex,
    helloEcho: hex,
    counter: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
    path: fc.integer({ min: 0, max: 255 }),
  });
  fc.assert(
    fc.property(heartbeats, (heartbeat) => {
      const data = encodeHeartbeat(LB1, heartbeat);
      t.equal(data.length, HEARTBEAT_BYTES);
      t.same(decodeHeartbeat(LB2, data), { ok: true, heartbeat });
    }),
    { numRuns: 100 },
  );
  t.end();
});

const good = encodeHeartbeat(LB1, SAMPLE);
const REFUSED: readonly (readonly [name: string, data: Buffer, cause: DropCause])[] = [
  ['empty', Buffer.alloc(0), 'truncated'],
  ['one byte short', good.subarray(0, HEARTBEAT_BYTES - 1), 'truncated'],
  ['one byte more', Buffer.concat([good, Buffer.alloc(1)]), 'malformed'],
  ['another protocol', changed(0, 0), 'magic'],
  ['another version', changed(4, 1), 'version'],
  ['another cluster', encodeHeartbeat(createIdentity(KEY, 'bank', 'lb1', 'lb2'), SAMPLE), 'cluster'],
  ['its own, looped back', encodeHeartbeat(LB2, SAMPLE), 'self'],
  ['a third node', encodeHeartbeat(createIdentity(KEY, 'shop', 'lb3', 'lb2'), SAMPLE), 'sender'],
  [
    'another secret',
    encodeHeartbeat(createIdentity(Buffer.alloc(32, 8), 'shop', 'lb1', 'lb2'), SAMPLE),
    'auth',
  ],
  ['signed, no such role', sign(changed(6, 9)), 'malformed'],
  ['signed, no such flag', sign(changed(5, 0x80)), 'malformed'],
  ['signed, more sections', sign(changed(HEARTBEAT_BYTES - 33, 1)), 'malformed'],
  ['signed, priority 255', sign(changed(7, 255)), 'malformed'],
  ['signed, interval 0', sign(encodeHeartbeat(LB1, { ...SAMPLE, intervalMs: 0 })), 'malformed'],
  ['signed, counter 0', sign(encodeHeartbeat(LB1, { ...SAMPLE, counter: 0 })), 'malformed'],
  ['signed, no nonce', sign(encodeHeartbeat(LB1, { ...SAMPLE, nonce: '0'.repeat(16) })), 'malformed'],
];

for (const [name, data, cause] of REFUSED)
  t.test(`refused: ${name}`, (t) => {
    t.same(decodeHeartbeat(LB2, data), { ok: false, cause });
    t.end();
  });

t.test('no bit can be flipped unnoticed', (t) => {
  for (let bit = 0; bit < HEARTBEAT_BYTES * 8; bit++) {
    const data = Buffer.from(good);
    data[bit >> 3]! ^= 1 << (bit & 7);
    if (decodeHeartbeat(LB2, data).ok) t.fail(`bit ${bit} was flipped and not noticed`);
  }
  t.pass();
  t.end();
});

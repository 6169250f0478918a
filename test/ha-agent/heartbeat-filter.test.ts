import t from 'tap';
import {
  createIdentity,
  encodeHeartbeat,
  type Heartbeat,
  type HeartbeatIdentity,
} from '../../ha-agent/heartbeat.ts';
import { type FilterWants, heartbeatFilter } from '../../ha-agent/heartbeat-filter.ts';
import { encodeV2, V2_BYTES } from '../../ha-agent/heartbeat-v2.ts';
import { passesOn, passOf } from '../../ha-agent/pass.ts';
import { runFilter } from '../common/filter-machine.ts';

const [KEY, OTHER_KEY] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const LB1 = createIdentity(KEY, 'shop', 'lb1', 'lb2');
const LB2 = createIdentity(KEY, 'shop', 'lb2', 'lb1');
const [WAY, OTHER_WAY] = ['0a0b0c0d', '01020304'];
const UDP_HEAD = 8;
/** One that lets nothing through that depends on chance, and one that lets all. */
const [UNLUCKY, LUCKY] = [1, 0];

const HEARTBEAT: Omit<Heartbeat, 'version'> = {
  ...{ role: 'active', priority: 150, epoch: 7, intervalMs: 100, healthy: true, request: false },
  ...{ probe: false, finishing: false, forwards: false, ahead: false, group: '4'.repeat(16), path: 0 },
  ...{ counter: 9, sentMs: 1234, configDigest: '1'.repeat(16), sectionDigests: '', nonce: '2'.repeat(16) },
  ...{ keys: [], paths: [], echoes: [] },
};

/** Of a node, with its pass for a way. */
function datagram(identity: HeartbeatIdentity, way = WAY, key = identity.keys[0]!): Buffer {
  return encodeHeartbeat(identity, HEARTBEAT, key, passOf(key, identity.self, way));
}

function passes(data: Buffer, wants: Partial<FilterWants> = {}, random = UNLUCKY): boolean {
  const program = heartbeatFilter({ identity: LB2, way: WAY, passes: true, sampled: false, ...wants });
  return runFilter(program, { data: Buffer.concat([Buffer.alloc(UDP_HEAD), data]) }, random);
}

/** Of a node, in the format of the last release. */
function old(identity: HeartbeatIdentity): Buffer {
  const nobody = '0'.repeat(16);
  return encodeV2(identity, HEARTBEAT, { nonce: HEARTBEAT.nonce, echo: nobody, helloEcho: nobody });
}

const foreign: readonly (readonly [what: string, data: Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['noise', Buffer.alloc(200, 0x5a)],
  ['the beginning of one', datagram(LB1).subarray(0, 63)],
  ['longer than any', Buffer.concat([datagram(LB1), Buffer.alloc(1200)])],
  ['another cluster', datagram(createIdentity(KEY, 'bank', 'lb1', 'lb2'))],
  ['a third node', datagram(createIdentity(KEY, 'shop', 'lb3', 'lb2'))],
];

t.test('what is of the peer reaches the socket, whatever else comes', async (t) => {
  t.ok(passes(datagram(LB1)));
  t.ok(passes(datagram(LB2)), 'and what another process with the name of this node sends');
  for (const [what, data] of foreign) {
    t.notOk(passes(data), what);
    t.ok(passes(data, {}, LUCKY), `${what}: one in some, for the counts`);
    t.notOk(passes(data, { passes: false }), `${what}: also where the peer has no pass`);
  }
});

t.test('a pass is good for one sender, one way and one key', async (t) => {
  t.notOk(passes(encodeHeartbeat(LB1, HEARTBEAT)), 'none');
  t.notOk(passes(datagram(LB1, OTHER_WAY)), 'that of another way');
  t.notOk(passes(datagram(createIdentity(OTHER_KEY, 'shop', 'lb1', 'lb2'))), 'of another secret');
  const both = createIdentity([OTHER_KEY, KEY], 'shop', 'lb2', 'lb1');
  t.ok(passes(datagram(LB1), { identity: both }), 'while a secret is replaced, either');
  t.equal(new Set(passesOn(both, WAY)).size, 4);
  t.equal(passOf(LB1.keys[0]!, LB1.self, ''), 0, 'a way without a filter has none');
});

t.test('a peer of the last release has no pass', async (t) => {
  t.equal(old(LB1).length, V2_BYTES);
  t.ok(passes(old(LB1), { passes: false }));
  t.ok(passes(old(LB2), { passes: false }), 'nor has another process with the name of this node');
  t.ok(passes(encodeHeartbeat(LB1, HEARTBEAT), { passes: false }));
  t.notOk(passes(old(LB1)), 'once the peer has shown its pass, that format is not its own');
  t.notOk(passes(old(createIdentity(KEY, 'bank', 'lb1', 'lb2')), { passes: false }));
  t.notOk(passes(old(createIdentity(KEY, 'shop', 'lb3', 'lb2')), { passes: false }));
});

t.test('where a flood has all of that, only a share of everything is let through', async (t) => {
  t.notOk(passes(datagram(LB1), { sampled: true }));
  t.ok(passes(datagram(LB1), { sampled: true }, LUCKY));
  t.notOk(passes(foreign[1]![1], { sampled: true }));
});

import t, { type Test } from 'tap';
import type { PeerReport } from '../../ha-agent/election-types.ts';
import { Exchange } from '../../ha-agent/exchange.ts';
import { createIdentity } from '../../ha-agent/heartbeat.ts';
import { PeerSession, type Stamp } from '../../ha-agent/peer-session.ts';
import { MemoryLane } from '../ha-agent/memory-lane.ts';
import { AdversaryWorld, type CreateSpeaker, INTERVAL_MS, LIFETIME_MS } from './adversary-world.ts';
import { randomFrom } from './simulation.ts';

const SEEDS = Number(process.env.SEEDS ?? 3_000);
const EXCHANGE_SEEDS = Math.ceil(SEEDS / 50);
const ONLY = process.env.SEED === undefined ? undefined : Number(process.env.SEED);
const KEY = Buffer.alloc(32, 1);
const PATHS = [0, 1];

type Plain = Stamp & { readonly id: number; readonly node: string };

const sessions: CreateSpeaker<Plain> = (node, host, random) => {
  const nonce = Math.floor(random() * 2 ** 48)
    .toString(16)
    .padStart(16, 'a');
  const session = new PeerSession({ nonce, drawnMs: () => undefined });
  let counter = 0;
  return {
    speak: (id) => {
      counter++;
      const now = host.now();
      const echoes = session.echoes(now, LIFETIME_MS);
      const stamp = { version: 3 as const, role: 'standby' as const, ahead: false, nonce, counter, echoes };
      return PATHS.map((path) => [{ ...stamp, sentMs: Math.floor(now), path, id, node }]);
    },
    hear: (datagram) => {
      if (datagram.node === node) return;
      if (session.accept(datagram, host.now(), LIFETIME_MS) === 'fresh') host.onFresh(datagram.id);
    },
    renew: () => {
      counter += 64;
      session.forgetBefore(host.now());
    },
  };
};

const exchanges: CreateSpeaker<Buffer> = (node, host) => {
  const exchange = new Exchange({
    identity: createIdentity(KEY, 'shop', node, node === 'lb1' ? 'lb2' : 'lb1'),
    selfAddress: '192.0.2.1',
    peerAddress: '192.0.2.2',
    now: host.now,
    onHeartbeat: (_, report) => host.onFresh(report.servedMs!),
    onHello: () => {},
    onRefused: () => {},
    onPath: () => {},
    onTrouble: () => {},
    onPresence: () => {},
    onTwin: () => {
      throw new Error('there is no twin');
    },
  });
  exchange.configure({ digest: 'ab', sectionDigests: '', groups: ['one'], deadTimeMs: 3 * INTERVAL_MS });
  const lanes: MemoryLane[] = [];
  for (const _ of PATHS)
    void exchange.addLane((events) => {
      const lane = new MemoryLane(events);
      lanes.push(lane);
      return lane;
    });
  const report: PeerReport = {
    ...{ role: 'standby', priority: 100, epoch: 1, intervalMs: INTERVAL_MS, healthy: true },
    ...{ request: false, probe: false, finishing: false, forwards: false },
  };
  return {
    speak: (servedMs) => {
      for (const lane of lanes) lane.sent = [];
      void exchange.send('one', { ...report, servedMs });
      return lanes.map(({ sent }) => sent);
    },
    hear: (datagram, path) => lanes[path]!.events.onDatagram(datagram, undefined),
    renew: () => exchange.renewNonce(),
  };
};

async function judge<D>(t: Test, count: number, create: CreateSpeaker<D>): Promise<void> {
  const seeds = ONLY === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [ONLY];
  let failed = 0;
  for (const seed of seeds) {
    const world = new AdversaryWorld(randomFrom(seed), create);
    await world.run();
    if (world.problems.length > 0 && failed++ < 3) t.fail(`SEED=${seed}: ${world.problems[0]}`);
  }
  t.equal(failed, 0, `${failed} of ${seeds.length} seeds failed`);
}

t.test('whatever is played back, only what a living peer has just said counts', (t) =>
  judge(t, SEEDS, sessions),
);

t.test('nor does it on the wire', (t) => judge(t, EXCHANGE_SEEDS, exchanges));

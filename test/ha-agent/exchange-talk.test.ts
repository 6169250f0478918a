import { createHmac } from 'node:crypto';
import t from 'tap';
import type { PeerReport } from '../../ha-agent/election-types.ts';
import { Exchange } from '../../ha-agent/exchange.ts';
import { createIdentity, groupHash, type Heartbeat, NO_NONCE } from '../../ha-agent/heartbeat.ts';
import { encodeV2, readDatagram, V2_BYTES } from '../../ha-agent/heartbeat-v2.ts';
import { MemoryLane } from './memory-lane.ts';

const KEY = Buffer.alloc(32, 1);
const NEW_KEY = Buffer.alloc(32, 2);
const REPORT: PeerReport = {
  ...{ role: 'standby', priority: 100, epoch: 3, intervalMs: 100, healthy: true },
  ...{ request: false, probe: false, finishing: false, forwards: false },
};
type Keys = Parameters<typeof createIdentity>[0];

/** One end, with a clock that everybody shares and one lane without sockets. */
class End {
  readonly exchange: Exchange;
  readonly lane: MemoryLane;
  readonly heard: string[] = [];
  /** Groups about which a process was heard for the first time, and is to be answered at once. */
  readonly met: string[] = [];
  readonly #name: string;

  constructor(name: 'lb1' | 'lb2', clock: { now: number }, keys: Keys = KEY, lanes = 1) {
    this.#name = name;
    this.exchange = new Exchange({
      identity: this.#identity(keys),
      selfAddress: '192.0.2.1',
      peerAddress: '192.0.2.2',
      now: () => clock.now,
      onHeartbeat: (_, { role }, restarted) => this.heard.push(restarted ? `new ${role}` : role),
      onHello: (group, _, isFirst) => {
        this.heard.push('hello');
        if (isFirst) this.met.push(group);
      },
      onRefused: () => {},
      onPath: (path, why) => this.heard.push(`${path} ${why ?? 'works'}`),
      onTrouble: (text) => this.heard.push(text),
      onPresence: (why) => this.heard.push(`presence: ${why}`),
      onTwin: (_, greater, from) => this.heard.push(`twin ${greater} ${from}`),
    });
    this.exchange.configure({
      digest: 'ab'.repeat(32),
      sectionDigests: '',
      groups: ['one'],
      deadTimeMs: 300,
    });
    const all: MemoryLane[] = [];
    for (let i = 0; i < lanes; i++)
      void this.exchange.addLane((events) => {
        const lane = new MemoryLane(events, `lane ${i}`);
        all.push(lane);
        return lane;
      });
    this.lane = all[0]!;
  }

  rekey(keys: Keys): void {
    this.exchange.rekey(this.#identity(keys));
  }

  /** @returns what goes out in one round */
  async say(role: PeerReport['role'] = 'standby'): Promise<Buffer[]> {
    this.lane.sent = [];
    await this.exchange.send('one', { ...REPORT, role });
    return this.lane.sent;
  }

  hear(datagrams: readonly Buffer[], from?: string): string[] {
    this.heard.length = 0;
    for (const datagram of datagrams) this.lane.events.onDatagram(datagram, from);
    return [...this.heard];
  }

  get dropped(): Readonly<Record<string, number>> {
    return this.exchange.status(300)[0]!.dropped;
  }

  #identity(keys: Keys) {
    return createIdentity(keys, 'shop', this.#name, this.#name === 'lb1' ? 'lb2' : 'lb1');
  }
}

/** Rounds of both, until they know each other. */
async function meet(clock: { now: number }, lb1: End, lb2: End, rounds = 3): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    clock.now += 100;
    lb2.hear(await lb1.say());
    lb1.hear(await lb2.say());
  }
}

const versions = (datagrams: readonly Buffer[]) => datagrams.map((data) => data[4]);

t.test(
  'a path that takes nothing holds up no other one, is said, and what it keeps is bounded',
  async (t) => {
    const clock = { now: 1_000 };
    const end = new End('lb1', clock, KEY, 2);
    end.lane.stuck = true;
    for (let i = 0; i < 50; i++) {
      clock.now += 100;
      await end.exchange.send('one', REPORT);
    }
    t.ok(end.lane.sent.length < 30, 'it is not fed any more');
    t.match(end.heard, [/^lane 0 it stalls: nothing was taken for 1\d{3} ms/], 'once');
    const [stalled, other] = end.exchange.status(300);
    t.match(stalled, { state: 'failed', why: /it stalls: .* \d+ heartbeats were left out/ });
    t.equal(other!.sent, 100, 'in both formats');
    end.heard.length = 0;
    end.lane.release();
    await end.exchange.send('one', REPORT);
    t.same(end.heard, ['lane 0 works']);
    t.equal(end.exchange.status(300)[0]!.why, 'the peer was never heard');
  },
);

t.test('where every path stalls, no round is out', async (t) => {
  const clock = { now: 1_000 };
  const end = new End('lb1', clock);
  end.lane.stuck = true;
  let out = false;
  for (let i = 0; i < 50; i++) {
    clock.now += 100;
    void end.exchange.send('one', REPORT).then(() => (out = true));
  }
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(out, false);
  end.lane.release();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(out, true);
  await end.say();
  t.pass('and the next one is');
});

t.test('a peer of this release is spoken to in its format, and only that', async (t) => {
  const clock = { now: 1_000 };
  const [lb1, lb2] = [new End('lb1', clock), new End('lb2', clock)];
  t.same(versions(await lb1.say()), [3, 2], 'before anybody is known');
  await meet(clock, lb1, lb2);
  t.same(versions(await lb1.say()), [3]);
  t.same(lb1.hear(await lb2.say('active')), ['active']);
  t.same([lb1.dropped, lb2.dropped], [{}, {}], 'what was said twice to begin with was not lost');
  clock.now += 60_000;
  t.same(versions(await lb1.say()), [3], 'the next process of the peer will say hello in both');
});

t.test('the answer to the first heartbeat after a pause counts, within the same millisecond', async (t) => {
  const clock = { now: 1_000 };
  const [lb1, lb2] = [new End('lb1', clock), new End('lb2', clock)];
  await meet(clock, lb1, lb2);
  clock.now += 400;
  const waiting = await lb2.say();
  clock.now += 100.75;
  lb1.exchange.renewNonce();
  t.same(lb1.hear(waiting), ['hello'], 'what waited in the sockets does not');
  lb2.hear(await lb1.say());
  clock.now += 0.125;
  t.same(lb1.hear(await lb2.say('active')), ['active']);
});

/** A node of the last release: strict about versions, and echoes nonces. */
class FormerPeer {
  readonly #identity = createIdentity(KEY, 'shop', 'lb2', 'lb1');
  readonly nonce: string;
  #counter = 0;
  #echo = NO_NONCE;
  /** What it has heard, and whether it was fresh to it. */
  readonly heard: string[] = [];

  constructor(nonce: string) {
    this.nonce = nonce;
  }

  say(role: Heartbeat['role'] = 'active', group = 'one'): Buffer {
    const more = { version: 2 as const, ahead: false, sentMs: 0, echoes: [], keys: [], paths: [] };
    const heartbeat = {
      ...REPORT,
      role,
      ...more,
      group: groupHash(group),
      path: 0,
      counter: ++this.#counter,
    };
    const data = encodeV2(
      this.#identity,
      { ...heartbeat, configDigest: '0'.repeat(16), sectionDigests: '' },
      { nonce: this.nonce, echo: this.#echo, helloEcho: NO_NONCE },
    );
    data[8]! &= 0x7f;
    const end = V2_BYTES - 32;
    createHmac('sha256', this.#identity.keys[0]!.key).update(data.subarray(0, end)).digest().copy(data, end);
    return data;
  }

  hear(datagrams: readonly Buffer[]): void {
    for (const data of datagrams) {
      if (data[4] !== 2) continue;
      const read = readDatagram(this.#identity, data, () => false);
      if (!read.ok) throw new Error(read.cause);
      const { nonce, echoes, role } = read.heartbeat;
      this.#echo = nonce;
      this.heard.push(echoes.some((echo) => echo.nonce === this.nonce) ? role : 'hello');
    }
  }
}

t.test('a peer of the last release is spoken to in its format, until it speaks this one', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  const former = new FormerPeer('2222222222220000');
  former.hear(await lb1.say());
  t.same(lb1.hear([former.say()]), ['new active']);
  const datagrams = await lb1.say();
  t.same(versions(datagrams), [2]);
  former.hear(datagrams);
  t.same(former.heard, ['hello', 'standby']);
  for (let i = 0; i < 100; i++) {
    clock.now += 100;
    former.hear(await lb1.say());
    t.same(lb1.hear([former.say()]), ['active']);
  }
  t.notOk(former.heard.slice(2).includes('hello'), 'it never hears another process');
  // The node is upgraded: another process, which nobody waits for long.
  const lb2 = new End('lb2', clock);
  clock.now += 100;
  t.same(lb1.hear(await lb2.say()), ['hello']);
  lb2.hear(await lb1.say());
  clock.now += 100;
  t.same(lb1.hear(await lb2.say()), ['new standby']);
  clock.now += 2_000;
  t.same(versions(await lb1.say()), [3]);
});

t.test('an agent of the last release that restarts is known again within a round', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  const first = new FormerPeer('2222222222220000');
  first.hear(await lb1.say());
  lb1.hear([first.say()]);
  clock.now += 5_000;
  first.hear(await lb1.say());
  lb1.hear([first.say()]);
  const second = new FormerPeer('3333333333330000');
  clock.now += 100;
  t.same(lb1.hear([second.say()]), ['hello']);
  second.hear(await lb1.say());
  t.same(lb1.hear([second.say()]), ['new active']);
});

t.test('so it is where the former one says goodbye late, about one of its groups', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  lb1.exchange.configure({ digest: '', sectionDigests: '', groups: ['one', 'two'], deadTimeMs: 300 });
  const first = new FormerPeer('2222222222220000');
  first.hear(await lb1.say());
  lb1.hear([first.say('active', 'one'), first.say('active', 'two')]);
  clock.now += 100;
  const second = new FormerPeer('3333333333330000');
  t.same(lb1.hear([second.say('init', 'one'), second.say('init', 'two')]), ['hello', 'hello']);
  second.hear(await lb1.say());
  clock.now += 10;
  t.same(lb1.hear([second.say('init', 'two')]), ['new init']);
  t.same(lb1.hear([first.say('init', 'one')]), ['init'], 'by the guardian');
  for (let round = 0; round < 20; round++) {
    clock.now += 100;
    second.hear(await lb1.say());
    lb1.hear([second.say('standby', 'one'), second.say('standby', 'two')]);
  }
  t.same(lb1.hear([second.say('standby', 'one')]), ['standby']);
  t.same(lb1.hear([second.say('standby', 'two')]), ['standby']);
});

t.test('what it hears about one of its groups does not undo what it was asked about another', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  lb1.exchange.configure({ digest: '', sectionDigests: '', groups: ['one', 'two'], deadTimeMs: 300 });
  const before = new FormerPeer('2222222222220000');
  before.hear(await lb1.say());
  lb1.hear([before.say('active', 'one'), before.say('active', 'two')]);
  clock.now += 3_000;
  const after = new FormerPeer('2222222222220001');
  const [one, two] = [after.say('active', 'one'), after.say('active', 'two')];
  t.same(lb1.hear([one]), ['hello'], 'they were cut off from each other');
  after.hear(await lb1.say());
  t.same(lb1.hear([two]), ['hello']);
  clock.now += 1;
  t.same(lb1.hear([after.say('active', 'one')]), ['active'], 'the answer counts');
  await lb1.exchange.send('two', REPORT);
  after.hear(lb1.lane.sent);
  t.same(lb1.hear([after.say('active', 'two')]), ['active']);
});

t.test('a late word of the former one does not put the new one off for longer than a round', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  const first = new FormerPeer('2222222222220000');
  first.hear(await lb1.say());
  lb1.hear([first.say()]);
  const late = first.say();
  clock.now += 100;
  const second = new FormerPeer('3333333333330000');
  t.same(lb1.hear([second.say()]), ['hello']);
  second.hear(await lb1.say());
  clock.now += 10;
  t.same(lb1.hear([late]), ['active'], 'it looks later than the nonce that the new one has heard');
  clock.now += 90;
  lb1.met.length = 0;
  const again = second.say();
  t.same(lb1.hear([again]), ['hello']);
  t.same(lb1.met, ['one'], 'it is answered at once');
  second.hear(await lb1.say());
  lb1.hear([again, again]);
  t.same(lb1.met, ['one'], 'who plays it back gets no other answer');
  clock.now += 100;
  t.same(lb1.hear([second.say()]), ['new active']);
});

t.test('what a former process of the last release said draws no other nonce for ever', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  const nonceOf = async () => (await lb1.say()).find((data) => data[4] === 2)!.toString('hex', 40, 48);
  const first = new FormerPeer('2222222222220000');
  first.hear(await lb1.say());
  lb1.hear([first.say()]);
  const second = new FormerPeer('3333333333330000');
  lb1.hear([second.say()]);
  second.hear(await lb1.say());
  lb1.hear([first.say()]);
  const recorded = Array.from({ length: 20 }, () => second.say());
  const nonces = new Set<string>();
  for (const data of recorded) {
    clock.now += 50;
    lb1.hear([data, data, first.say()]);
    nonces.add(await nonceOf());
  }
  t.ok(nonces.size <= 2, 'only who answers to the new one is waited for');
});

t.test('what a node of the last release said before it was upgraded does not bring it back', async (t) => {
  const clock = { now: 1_000 };
  const lb1 = new End('lb1', clock);
  const former = new FormerPeer('2222222222220000');
  former.hear(await lb1.say());
  // Nobody but the recorder hears it.
  const recorded = [former.say(), former.say(), former.say()];
  const lb2 = new End('lb2', clock);
  await meet(clock, lb1, lb2);
  for (const data of recorded) t.notMatch(lb1.hear([data]), [/active/]);
  t.same(lb1.hear(await lb2.say()), ['standby']);
});

t.test(
  'a secret is replaced on one node after the other, and they hear each other all the time',
  async (t) => {
    const clock = { now: 1_000 };
    const [lb1, lb2] = [new End('lb1', clock), new End('lb2', clock)];
    await meet(clock, lb1, lb2);
    const both = [NEW_KEY, KEY] as const;
    const steps: (() => void)[] = [
      () => lb1.rekey(both),
      () => lb2.rekey(both),
      () => lb1.rekey(NEW_KEY),
      () => lb2.rekey(NEW_KEY),
    ];
    for (const [i, step] of steps.entries()) {
      step();
      for (let round = 0; round < 4; round++) {
        clock.now += 100;
        t.same(lb2.hear(await lb1.say()), ['standby'], `after step ${i + 1}`);
        t.same(lb1.hear(await lb2.say()), ['standby'], `after step ${i + 1}`);
      }
    }
    t.notOk(lb1.dropped.key ?? lb2.dropped.key);
  },
);

t.test(
  'a new process is answered at once about each group, and others that follow soon are not',
  async (t) => {
    const clock = { now: 1_000 };
    const lb1 = new End('lb1', clock);
    const config = { digest: '', sectionDigests: '', groups: ['one', 'two'], deadTimeMs: 300 };
    lb1.exchange.configure(config);
    const say = async () => {
      const lb2 = new End('lb2', clock);
      lb2.exchange.configure(config);
      await lb2.exchange.send('one', REPORT);
      await lb2.exchange.send('two', REPORT);
      return lb2.lane.sent;
    };
    lb1.hear(await say());
    t.same(lb1.met, ['one', 'two']);
    clock.now += 10;
    lb1.hear(await say());
    t.same(lb1.met, ['one', 'two'], 'somebody may play back many of them');
    t.end();
  },
);

t.test('a node that starts while the secret is replaced says hello with both', async (t) => {
  const clock = { now: 1_000 };
  const [lb1, lb2] = [new End('lb1', clock, [NEW_KEY, KEY]), new End('lb2', clock)];
  await meet(clock, lb1, lb2);
  clock.now += 100;
  t.same(lb2.hear(await lb1.say()), ['standby']);
});

t.test('a peer with another secret is heard, and not understood', async (t) => {
  const clock = { now: 1_000 };
  const [lb1, lb2] = [new End('lb1', clock), new End('lb2', clock, NEW_KEY)];
  t.same(lb1.hear(await lb2.say()), ['presence: it has another secret']);
  t.match(lb1.exchange.warnings(), [/\(key\): signed with another secret/, /\(auth\)/]);
  t.same(lb1.hear(await lb2.say()), [], 'told so often at most');
  clock.now += 100;
  t.same(lb1.hear(await lb2.say()), ['presence: it has another secret']);
});

t.test('so is one that speaks a later version, by its name or its address', async (t) => {
  const clock = { now: 1_000 };
  const [lb1, lb2] = [new End('lb1', clock), new End('lb2', clock)];
  const [data] = await lb2.say();
  data![4] = 4;
  t.same(lb1.hear([data!]), ['presence: it speaks another version of the protocol']);
  clock.now += 100;
  data![20]! ^= 1;
  t.same(lb1.hear([data!], '192.0.2.7'), []);
  t.same(lb1.hear([data!], '192.0.2.2'), ['presence: it speaks another version of the protocol']);
});

t.test('two machines with one name find each other out, and agree on which goes first', async (t) => {
  const clock = { now: 1_000 };
  const [one, two] = [new End('lb1', clock), new End('lb1', clock)];
  const told: string[][] = [[], []];
  for (let i = 0; i < 4; i++) {
    clock.now += 100;
    told[1]!.push(...two.hear(await one.say(), '192.0.2.1'));
    told[0]!.push(...one.hear(await two.say(), '192.0.2.9'));
  }
  t.match(told[0], [/^twin (true|false) 192.0.2.9$/]);
  t.match(told[1], [/^twin (true|false) 192.0.2.1$/]);
  t.not(told[0]![0]!.split(' ')[1], told[1]![0]!.split(' ')[1]);
});

t.test('their peer says so, too, and listens to one of them', async (t) => {
  const clock = { now: 1_000 };
  const [one, two, lb2] = [new End('lb1', clock), new End('lb1', clock), new End('lb2', clock)];
  const heard: string[] = [];
  for (let i = 0; i < 20; i++) {
    clock.now += 50;
    const said = await lb2.say();
    for (const [end, role] of [
      [one, 'active'],
      [two, 'standby'],
    ] as const) {
      end.hear(said);
      heard.push(...lb2.hear(await end.say(role)));
    }
  }
  t.equal(heard.filter((text) => /two machines that claim the name of the peer/.test(text)).length, 1);
  t.same(new Set(heard.slice(-10)), new Set(['active']));
  t.match(lb2.exchange.warnings(), [/\(twin\): from a second machine/]);
});

t.test('what an earlier process of this node said makes no twin of it', async (t) => {
  const clock = { now: 1_000 };
  const [before, lb2] = [new End('lb1', clock), new End('lb2', clock)];
  await meet(clock, before, lb2);
  const recorded = [...(await before.say()), ...(await before.say()), ...(await before.say())];
  const now = new End('lb1', clock);
  await now.say();
  t.same(now.hear([...recorded, ...recorded]), []);
});

import t from 'tap';
import {
  askAtMs,
  beat,
  drop,
  due,
  HOLDER_SHARE,
  type LeaseConfig,
  type LeaseOutcome,
  leaseState,
  reachesWitness,
  receive,
  want,
} from '../../ha-agent/lease.ts';
import type { LeaseAnswer, LeaseQuestion } from '../../ha-agent/lease-message.ts';

const GROUP = '1111111111111111';
const CONFIG: LeaseConfig = {
  node: 'aaaaaaaaaaaaaaaa',
  process: 'a1a1a1a1a1a1a1a1',
  intervalMs: 100,
  timeMs: 250,
  awayMs: 1_000,
};

class Holder {
  now = 10_000;
  state = leaseState(10_000);
  readonly asked: LeaseQuestion[] = [];

  want(isWanted: boolean): void {
    this.#take(want(this.state, CONFIG, GROUP, isWanted, 3, this.now));
  }

  beat(): void {
    this.#take(beat(this.state, CONFIG, this.now));
  }

  due(): void {
    this.#take(due(this.state, CONFIG, this.now));
  }

  drop(): void {
    this.#take(drop(this.state, CONFIG, GROUP, this.now));
  }

  /** To the latest question, or another one. */
  hear(verdict: LeaseAnswer['verdict'], what: Partial<LeaseAnswer> = {}, to = this.asked.at(-1)!): void {
    const { node, group, process, token, counter, timeMs, epoch } = to;
    const answer = { verdict, node, group, process, token, counter, timeMs, epoch, silenceMs: 5, ...what };
    this.#take(receive(this.state, CONFIG, answer, this.now));
  }

  get heldUntilMs(): number {
    return this.state.groups.get(GROUP)!.heldUntilMs;
  }

  get takenUntilMs(): number {
    return this.state.groups.get(GROUP)!.takenUntilMs;
  }

  #take({ state, questions }: LeaseOutcome): void {
    this.state = state;
    this.asked.push(...questions);
  }
}

t.test('what is granted counts from when it was asked for', (t) => {
  const holder = new Holder();
  holder.want(true);
  t.match(holder.asked, [{ operation: 'take', group: GROUP, epoch: 3, timeMs: 250 }]);
  holder.now += 40;
  holder.hear('granted');
  t.equal(holder.heldUntilMs, 10_000 + 250 * HOLDER_SHARE);
  t.equal(askAtMs(holder.state), Number.POSITIVE_INFINITY, 'the next heartbeat renews it');
  holder.now += 60;
  holder.beat();
  holder.hear('granted');
  t.equal(holder.heldUntilMs, 10_100 + 250 * HOLDER_SHARE);
  t.end();
});

t.test('an answer counts once, for its own question, and not after a release', (t) => {
  const holder = new Holder();
  holder.want(true);
  const [first] = holder.asked;
  holder.hear('granted', { process: 'ffffffffffffffff' });
  holder.hear('granted', { group: '2222222222222222' });
  holder.hear('granted', { counter: 77 });
  t.equal(holder.heldUntilMs, 0);
  holder.want(false);
  t.match(holder.asked.at(-1), { operation: 'release' });
  holder.want(true);
  holder.hear('granted', {}, first);
  t.equal(holder.heldUntilMs, 0, 'asked for before the release');
  holder.hear('granted');
  t.ok(holder.heldUntilMs > 0);
  holder.want(false);
  t.equal(holder.heldUntilMs, 0, 'the belief ends with the release');
  t.end();
});

t.test(
  'without an answer it is asked again before the next heartbeat, after a denial when the lease is over',
  (t) => {
    const holder = new Holder();
    holder.want(true);
    t.equal(askAtMs(holder.state), 10_050);
    holder.now = 10_050;
    holder.due();
    t.equal(holder.asked.length, 2);
    holder.hear('denied', { timeMs: 30 });
    t.equal(holder.takenUntilMs, 10_080);
    t.equal(askAtMs(holder.state), 10_081);
    holder.now = 10_081;
    holder.due();
    holder.hear('granted');
    t.equal(holder.takenUntilMs, 0);
    t.end();
  },
);

t.test(
  'a node that wants nothing looks with every heartbeat, and knows whether the witness is there',
  (t) => {
    const holder = new Holder();
    holder.want(false);
    t.match(holder.asked, [{ operation: 'look' }], 'at once');
    t.ok(reachesWitness(holder.state, CONFIG, holder.now + 999), 'it may');
    t.notOk(reachesWitness(holder.state, CONFIG, holder.now + 1_000));
    holder.now += 1_000;
    holder.beat();
    t.match(holder.asked, [{ operation: 'look' }, { operation: 'look' }]);
    holder.hear('starting');
    t.notOk(reachesWitness(holder.state, CONFIG, holder.now), 'one that does not grant yet is away');
    holder.beat();
    holder.hear('vacant');
    t.ok(reachesWitness(holder.state, CONFIG, holder.now + 999));
    t.notOk(reachesWitness(holder.state, CONFIG, holder.now + 1_000));
    t.end();
  },
);

t.test('a question tells for how long no answer was heard', (t) => {
  const holder = new Holder();
  holder.want(true);
  holder.now += 10;
  holder.hear('granted');
  holder.now += 90;
  holder.beat();
  holder.now += 100;
  holder.beat();
  t.same(
    holder.asked.map(({ silenceMs }) => silenceMs),
    [0, 100, 200],
    'since the question that was answered',
  );
  t.end();
});

t.test('a proof that is wanted is given at once, and once', (t) => {
  const holder = new Holder();
  holder.want(true);
  holder.beat();
  t.equal(holder.asked.length, 2);
  holder.hear('prove', { token: '7777777777777777' });
  t.equal(holder.asked.length, 3);
  t.match(holder.asked[2], { operation: 'take', token: '7777777777777777' });
  holder.hear('prove', { token: '7777777777777777' }, holder.asked[0]);
  t.equal(holder.asked.length, 3);
  t.end();
});

t.test('a release that has to be proved is not told again, as it would end what was taken after it', (t) => {
  const holder = new Holder();
  holder.want(true);
  holder.hear('granted');
  holder.want(false);
  const release = holder.asked.at(-1)!;
  holder.want(true);
  holder.hear('prove', { token: '7777777777777777' }, release);
  t.match(holder.asked.at(-1), { operation: 'take' });
  t.end();
});

t.test('a denial of what was granted before shows that this clock stood still', (t) => {
  const holder = new Holder();
  holder.want(true);
  const [first] = holder.asked;
  holder.now += 10;
  holder.beat();
  holder.hear('granted');
  holder.hear('denied', { timeMs: 9 }, first);
  t.ok(holder.heldUntilMs > 0, 'an older question');
  holder.now += 10;
  holder.beat();
  holder.hear('denied', { timeMs: 9 });
  t.equal(holder.heldUntilMs, 0);
  t.end();
});

t.test('a group that leaves is released and forgotten', (t) => {
  const holder = new Holder();
  holder.want(true);
  holder.hear('granted');
  holder.drop();
  t.match(holder.asked.at(-1), { operation: 'release' });
  t.equal(holder.state.groups.size, 0);
  holder.hear('vacant');
  holder.beat();
  t.match(holder.asked.at(-1), { operation: 'release' }, 'nothing more is asked');
  t.end();
});

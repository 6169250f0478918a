import t from 'tap';
import { LaneSet } from '../../ha-agent/lane-set.ts';
import { MemoryLane } from './memory-lane.ts';

/** Lanes without sockets, by their id. */
class Lanes {
  now = 1_000;
  readonly set: LaneSet;
  readonly opened: MemoryLane[] = [];
  readonly troubles: string[] = [];

  constructor() {
    this.set = new LaneSet({
      now: () => this.now,
      onDatagram: (traffic) => {
        traffic.seenMs = this.now;
      },
      onRefused: () => {},
      onPath: () => {},
      onDiffer: (text) => this.troubles.push(text),
    });
  }

  open(...ids: string[]): Promise<void> {
    return this.set.open(
      ids.map((id) => ({
        id,
        create: (events) => {
          const lane = new MemoryLane(events, id);
          this.opened.push(lane);
          return lane;
        },
      })),
    );
  }

  /** Ids on which a round goes out. */
  async round(): Promise<string[]> {
    for (const lane of this.opened) lane.sent = [];
    await this.set.send(() => [Buffer.from('beat')]);
    return this.opened.filter(({ sent }) => sent.length > 0).map(({ name }) => name);
  }

  hear(id: string): void {
    this.opened.find(({ name }) => name === id)!.events.onDatagram(Buffer.from('beat'), undefined);
  }
}

t.test('paths that a reload took away go on until the peer does not use them either', async (t) => {
  const lanes = new Lanes();
  await lanes.open('old', 'both');
  lanes.set.peerSpeaksOn(['old', 'both']);
  t.same(lanes.set.warnings(), []);
  await lanes.open('both', 'new');
  t.same((await lanes.round()).toSorted(), ['both', 'new', 'old']);
  t.same(lanes.set.ids, ['both', 'new'], 'what this node says that it has');
  t.match(lanes.set.warnings(), [
    /^the peer uses other heartbeat paths than this config has; .* goes on with old$/,
  ]);
  lanes.hear('old');
  t.match(lanes.set.status(300)[2], { name: 'old', state: 'up', why: /not in this config any more/ });
  // The other node is reloaded as well.
  lanes.set.peerSpeaksOn(['both', 'new']);
  t.same((await lanes.round()).toSorted(), ['both', 'new']);
  t.same(lanes.set.warnings(), []);
});

t.test('the node that was not reloaded yet says so, too, once', async (t) => {
  const lanes = new Lanes();
  await lanes.open('old');
  lanes.set.peerSpeaksOn(['new']);
  lanes.set.peerSpeaksOn(['new']);
  t.match(lanes.set.warnings(), [/^the peer uses other heartbeat paths than this config has$/]);
  t.match(lanes.troubles, [/other heartbeat paths/]);
  t.equal(lanes.troubles.length, 1);
});

t.test(
  'of a peer that does not say which paths it uses, a path is kept until it is silent for long',
  async (t) => {
    const lanes = new Lanes();
    await lanes.open('old');
    lanes.set.peerSpeaksOn([]);
    await lanes.open('new');
    for (let i = 0; i < 10; i++) {
      lanes.now += 300_000;
      lanes.hear('old');
      t.same((await lanes.round()).toSorted(), ['new', 'old']);
    }
    lanes.now += 600_001;
    t.same(await lanes.round(), ['new']);
  },
);

t.test('a path that comes back is the one that was there', async (t) => {
  const lanes = new Lanes();
  await lanes.open('one', 'two');
  lanes.set.peerSpeaksOn(['one', 'two']);
  await lanes.open('two');
  await lanes.open('one', 'two');
  t.equal(lanes.opened.length, 2);
  t.same(lanes.set.warnings(), []);
});

t.test('reloads again and again keep so many paths at most', async (t) => {
  const lanes = new Lanes();
  for (let i = 0; i < 100; i++) await lanes.open(`path ${i}`);
  t.equal((await lanes.round()).length, 17);
});

t.test('a peer that is dead sends on no path, whatever it said last', async (t) => {
  const lanes = new Lanes();
  await lanes.open('one', 'two');
  lanes.set.peerSpeaksOn(['one', 'two']);
  lanes.hear('one');
  lanes.now += 2356;
  t.match(lanes.set.status(300), [
    { state: 'silent', why: /^silent for 2356 ms$/ },
    { state: 'silent', why: /^the peer was never heard$/ },
  ]);
});

t.test('a path that hears nothing while the peer sends on it is not up, and says so', async (t) => {
  const lanes = new Lanes();
  await lanes.open('stolen', 'well');
  lanes.hear('well');
  lanes.set.peerSpeaksOn(['stolen', 'well']);
  t.match(lanes.set.status(300), [
    { state: 'silent', why: 'the peer was never heard, though the peer sends on it' },
    { state: 'up', why: '' },
  ]);
});

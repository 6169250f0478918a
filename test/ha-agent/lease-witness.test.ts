import t from 'tap';
import { type LeaseAnswer, type LeaseQuestion, NO_TOKEN } from '../../ha-agent/lease-message.ts';
import {
  grantsFromMs,
  MAX_LEASES,
  MAX_NODES,
  witnessState,
  witnessStep,
} from '../../ha-agent/lease-witness.ts';

const LB1 = 'aaaaaaaaaaaaaaaa';
const LB2 = 'bbbbbbbbbbbbbbbb';
const GROUP = '1111111111111111';

/** A witness whose time of not granting is over, and what its nodes know. */
class Scene {
  now = 1_000;
  #state = witnessState(Buffer.alloc(32, 7), 500, 0);
  readonly #tokens = new Map<string, string>();
  #counter = 0;

  /** Asks, with a proof of being alive where the witness wants one. */
  ask(node: string, what: Partial<LeaseQuestion> = {}): LeaseAnswer | undefined {
    const answer = this.raw(this.question(node, what));
    if (answer?.verdict !== 'prove') return answer;
    this.#tokens.set(`${node} ${what.process ?? node}`, answer.token);
    return this.raw(this.question(node, what));
  }

  question(node: string, what: Partial<LeaseQuestion> = {}): LeaseQuestion {
    const process = what.process ?? node;
    const token = this.#tokens.get(`${node} ${process}`) ?? NO_TOKEN;
    const counter = ++this.#counter;
    return {
      operation: 'take',
      node,
      group: GROUP,
      process,
      token,
      counter,
      timeMs: 200,
      epoch: 1,
      silenceMs: 0,
      ...what,
    };
  }

  raw(question: LeaseQuestion): LeaseAnswer | undefined {
    const { state, answer } = witnessStep(this.#state, question, this.now);
    this.#state = state;
    return answer;
  }

  restart(): void {
    this.#state = witnessState(Buffer.alloc(32, 8), 500, this.now);
  }

  grants(): void {
    this.now = grantsFromMs(this.#state);
  }
}

t.test('the first one has it, renews it, and the other one gets it once it is over', (t) => {
  const scene = new Scene();
  t.match(scene.ask(LB1), { verdict: 'granted', timeMs: 200 });
  scene.now += 150;
  t.match(scene.ask(LB2), { verdict: 'denied' });
  t.match(scene.ask(LB1), { verdict: 'granted' });
  scene.now += 202;
  t.match(scene.ask(LB2), { verdict: 'denied', timeMs: 1 }, 'the witness keeps it for longer than it said');
  scene.now += 1;
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.match(scene.ask(LB1), { verdict: 'denied' });
  t.end();
});

t.test('a lease that is released goes to the other one at once; only its holder can release it', (t) => {
  const scene = new Scene();
  scene.ask(LB1);
  t.match(scene.ask(LB2, { operation: 'release' }), { verdict: 'vacant' });
  t.match(scene.ask(LB2), { verdict: 'denied' });
  scene.ask(LB1, { operation: 'release' });
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.end();
});

t.test('groups have leases of their own, and questions about them may overtake each other', (t) => {
  const scene = new Scene();
  const group = '2222222222222222';
  scene.ask(LB1, { operation: 'look' });
  const first = scene.question(LB1);
  t.match(scene.ask(LB2, { group }), { verdict: 'granted' });
  t.match(scene.raw(scene.question(LB1, { group })), { verdict: 'denied' });
  t.match(scene.raw(first), { verdict: 'granted' });
  t.equal(scene.raw(first), undefined, 'not twice');
  t.match(scene.ask(LB2, { operation: 'release' }), { verdict: 'vacant' });
  t.match(scene.ask(LB1, { group }), { verdict: 'denied' }, 'the other group is still held');
  t.end();
});

t.test('a look takes nothing', (t) => {
  const scene = new Scene();
  t.match(scene.ask(LB1, { operation: 'look' }), { verdict: 'vacant' });
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.match(scene.ask(LB1, { operation: 'look' }), { verdict: 'denied' });
  t.end();
});

t.test('after a start nothing is granted until what was granted before is over', (t) => {
  const scene = new Scene();
  t.match(scene.ask(LB1), { verdict: 'granted' });
  scene.restart();
  t.match(scene.ask(LB2), { verdict: 'starting', timeMs: 506 });
  scene.now += 505;
  t.match(scene.ask(LB2), { verdict: 'starting', timeMs: 1 });
  scene.grants();
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.end();
});

t.test('a question that was recorded is worth nothing', (t) => {
  const scene = new Scene();
  scene.ask(LB1);
  const take = scene.question(LB1);
  t.match(scene.raw(take), { verdict: 'granted' });
  t.equal(scene.raw(take), undefined, 'twice');
  const release = scene.question(LB1, { operation: 'release' });
  t.match(scene.raw(scene.question(LB1)), { verdict: 'granted' });
  t.equal(scene.raw(release), undefined, 'overtaken by a later take');
  t.match(scene.ask(LB2), { verdict: 'denied' });

  t.match(scene.ask(LB1, { process: 'a2a2a2a2a2a2a2a2', operation: 'look' }), { verdict: 'denied' });
  scene.now += 300;
  t.match(scene.raw({ ...take, counter: 999 }), { verdict: 'prove' }, 'of a process that is gone');
  t.match(scene.ask(LB2), { verdict: 'granted' }, 'it has taken nothing');

  scene.restart();
  scene.grants();
  t.match(scene.raw({ ...take, counter: 1_000 }), { verdict: 'prove' }, 'of before the witness started');
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.end();
});

t.test('two machines with one name do not share a lease', (t) => {
  const scene = new Scene();
  const copy = { process: 'a2a2a2a2a2a2a2a2' };
  t.match(scene.ask(LB1), { verdict: 'granted' });
  t.match(scene.ask(LB1, copy), { verdict: 'denied' });
  t.match(scene.ask(LB1), { verdict: 'granted' });
  t.match(scene.ask(LB1, { ...copy, operation: 'release' }), { verdict: 'vacant' });
  t.match(scene.ask(LB2), { verdict: 'denied' });
  t.end();
});

t.test('a shorter time does not end sooner what was granted', (t) => {
  const scene = new Scene();
  scene.ask(LB1, { timeMs: 400 });
  scene.ask(LB1, { timeMs: 20 });
  scene.now += 300;
  t.match(scene.ask(LB2), { verdict: 'denied' });
  t.end();
});

t.test('more than the longest time is refused', (t) => {
  t.match(new Scene().ask(LB1, { timeMs: 501 }), { verdict: 'too-long', timeMs: 500 });
  t.end();
});

t.test('a node that does not hear the answers does not withhold the lease from the other one', (t) => {
  const scene = new Scene();
  t.match(scene.ask(LB1, { silenceMs: 200 }), { verdict: 'granted' });
  scene.now += 150;
  t.match(scene.ask(LB1, { silenceMs: 201 }), { verdict: 'unheard' });
  scene.now += 60;
  t.match(scene.ask(LB2), { verdict: 'granted' });
  t.end();
});

t.test('the epoch is the highest of those that held it', (t) => {
  const scene = new Scene();
  scene.ask(LB1, { epoch: 7 });
  t.match(scene.ask(LB2, { epoch: 9 }), { verdict: 'denied', epoch: 7 });
  scene.now += 300;
  t.match(scene.ask(LB2, { epoch: 3 }), { verdict: 'granted', epoch: 7 });
  t.end();
});

t.test('it tells for how long the other node has not asked', (t) => {
  const scene = new Scene();
  t.match(scene.ask(LB1), { silenceMs: 1_000 }, 'never: since the witness started');
  scene.ask(LB2, { operation: 'look' });
  scene.now += 70;
  t.match(scene.ask(LB1), { silenceMs: 70 });
  t.end();
});

t.test('its memory is bounded', (t) => {
  const scene = new Scene();
  const name = (i: number) => i.toString(16).padStart(16, '0');
  for (let i = 1; i <= MAX_NODES; i++) t.ok(scene.ask(name(i), { operation: 'look' }));
  t.equal(scene.ask(LB1), undefined, 'no room for one more node');
  for (let i = 1; i <= MAX_LEASES; i++) t.ok(scene.ask(name(1 + (i % 2)), { group: name(i) }));
  t.equal(scene.ask(name(3)), undefined, 'no room for one more lease');
  scene.now += 300;
  t.match(scene.ask(name(3)), { verdict: 'granted' }, 'in the place of one that is over');
  for (let i = 1; i < MAX_LEASES; i++) scene.ask(name(3), { group: name(i), operation: 'look' });
  t.equal(scene.ask(name(3), { group: name(MAX_LEASES) }), undefined, 'no room for one more group of a node');
  t.end();
});

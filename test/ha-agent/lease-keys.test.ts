import t from 'tap';
import { LeaseKeys, leaseIdentities } from '../../ha-agent/lease-keys.ts';
import { encodeAnswer, type LeaseIdentity } from '../../ha-agent/lease-message.ts';

const INTERVAL_MS = 100;
const BOTH = leaseIdentities('shop', [Buffer.alloc(32, 2), Buffer.alloc(32, 1)]);
const [NEXT, FORMER] = BOTH as readonly [LeaseIdentity, LeaseIdentity];

function answer(identity: LeaseIdentity): Buffer {
  return encodeAnswer(identity, {
    verdict: 'granted',
    node: 'aaaaaaaaaaaaaaaa',
    group: '1111111111111111',
    process: 'a1a1a1a1a1a1a1a1',
    token: '0000000000000000',
    counter: 1,
    timeMs: 250,
    epoch: 1,
    silenceMs: 0,
  });
}

/** A witness that has these keys answers at once. @returns what the questions of 10 intervals are signed with */
function talk(keys: LeaseKeys, has: readonly LeaseIdentity[], fromMs = 0): LeaseIdentity[] {
  return Array.from({ length: 10 }, (_, i) => {
    const now = fromMs + i * INTERVAL_MS;
    const identity = keys.next(now, INTERVAL_MS);
    if (has.includes(identity)) keys.decode(answer(identity), now);
    return identity;
  });
}

t.test('the current key is tried first, the former one where no answer comes, and then that is kept', (t) => {
  t.same(new Set(talk(new LeaseKeys(BOTH), [NEXT, FORMER])), new Set([NEXT]));
  const keys = new LeaseKeys(BOTH);
  const [first, ...rest] = talk(keys, [FORMER]);
  t.equal(first, NEXT);
  t.same(new Set(rest), new Set([FORMER]), 'no question more with a key that gets no answer');
  const later = talk(keys, [NEXT], 1_000);
  t.equal(later[0], FORMER);
  t.same(new Set(later.slice(2)), new Set([NEXT]), 'a witness that has lost the former one');
  t.end();
});

t.test('while no answer comes the keys take turns, and a late one decides', (t) => {
  const keys = new LeaseKeys(BOTH);
  t.same(talk(keys, []).slice(0, 4), [NEXT, FORMER, NEXT, FORMER]);
  keys.decode(answer(NEXT), 1_000);
  t.equal(keys.next(1_000, INTERVAL_MS), NEXT);
  t.end();
});

t.test('an answer with a key that is not accepted any more says nothing', (t) => {
  const keys = new LeaseKeys(BOTH);
  keys.replace([NEXT]);
  t.equal(keys.decode(answer(FORMER), 0), undefined);
  t.same(new Set(talk(keys, [])), new Set([NEXT]));
  t.end();
});

import { createHash } from 'node:crypto';
import t from 'tap';
import { KeyRing } from '../../../lbd/session/key-ring.ts';

const ENDS = { cluster: 'shop', dialer: 'a', listener: 'b' };
const [OLD, NEW] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
/** As the last release calls it. */
const FORMER_NAME = createHash('sha256').update('["shop","a","b"]').digest('hex');

t.test('a dialling node tries its keys, then the way of the last release', (t) => {
  const ring = new KeyRing(ENDS, [NEW, OLD]);
  const calls = Array.from({ length: 4 }, () => ring.nextCall('sessions'));
  t.same(
    calls.map(({ key }) => key),
    [NEW, OLD, OLD, NEW],
  );
  t.equal(calls[2]!.identity, FORMER_NAME);
  for (const { identity } of calls) t.ok(identity.length <= 128);
  calls[1]!.worked();
  t.equal(ring.nextCall('sessions').key, OLD, 'what has worked comes first');
  t.equal(ring.nextCall('heartbeats').key, NEW, 'each purpose for itself');
  t.end();
});

t.test('a listening node takes the key that is named, and the oldest one of a former release', (t) => {
  const ring = new KeyRing(ENDS, [NEW, OLD]);
  for (const key of [NEW, OLD]) {
    const { identity } = new KeyRing(ENDS, [key]).nextCall('heartbeats');
    t.same(ring.called(identity), { purpose: 'heartbeats', key });
  }
  t.same(ring.called(FORMER_NAME), { purpose: 'sessions', key: OLD });
  const stranger = new KeyRing(ENDS, [Buffer.alloc(32, 9)]).nextCall('sessions');
  t.not(ring.called(stranger.identity)!.key, stranger.key, 'that handshake fails, and says why');
  const other = new KeyRing({ ...ENDS, cluster: 'bank' }, [OLD]).nextCall('sessions');
  t.equal(ring.called(other.identity), undefined);
  t.equal(ring.called(''), undefined);
  t.end();
});

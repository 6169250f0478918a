import t from 'tap';
import { type Breaker, brokenBy, brokenText } from '../../../lbd/shared/circuit.ts';

t.test('which limit one more would break', async (t) => {
  const all: Breaker[] = ['requests', 'pending', 'connections'];
  const none = { requests: 0, pending: 0, connections: 0 };
  const load = { requests: 10, pending: 2, connections: 5 };
  const cases: [limits: typeof none, wants: Breaker[], broken: Breaker | undefined][] = [
    [none, all, undefined],
    [{ ...none, requests: 11 }, all, undefined],
    [{ ...none, requests: 10 }, all, 'requests'],
    [{ ...none, requests: 10 }, ['pending'], undefined],
    [{ ...none, pending: 1, connections: 5 }, ['pending', 'connections'], 'pending'],
    [{ ...none, connections: 5 }, ['pending', 'connections'], 'connections'],
  ];
  for (const [limits, wants, broken] of cases)
    t.equal(brokenBy(limits, load, wants), broken, JSON.stringify(limits));
  t.same(brokenText({ requests: 10, pending: 3, connections: 4 }, load), [
    'requests: 10 of 10',
    'connections: 5 of 4',
  ]);
});

import t from 'tap';
import { figures, type Row, tableOf } from '../../scripts/bench/failover-table.ts';
import { broken } from '../../scripts/lab/demo-text.ts';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { type FaultResult, regained, resolvedMs } from '../../scripts/lab/scenario.ts';

const sticky = { total: 20, kept: 20, strayed: 0, examples: [] };

/** A run in which all went well: lb1 failed at 1000, lb2 took over. */
function result(fault: FaultName, given: Partial<FaultResult> = {}): FaultResult {
  return {
    probe: { requests: 500, failures: 10, blackoutMs: 20, atMs: 1001, causes: { timeout: 10 } },
    sticky: { cookie: sticky, learnt: sticky, source: sticky },
    keptAlive: { total: 20, broken: 0, causes: [] },
    fault,
    from: 'lb1',
    to: 'lb2',
    faultAtMs: 1000,
    takeoverMs: 300,
    vipGoneMs: 15,
    twoOwnersMs: 0,
    holders: ['lb2'],
    neighbour: 'lb2',
    events: [],
    changes: [
      { atMs: 1015, node: 'lb1', held: false },
      { atMs: 1300, node: 'lb2', held: true },
    ],
    ...given,
  };
}

t.test('what is not as it must be', async (t) => {
  const moved = [{ atMs: 1015, node: 'lb1', held: false } as const];
  const cases: readonly [why: string, result: FaultResult, says: RegExp[]][] = [
    ['all is well', result('cut'), []],
    ['two owners', result('cut', { twoOwnersMs: 3 }), [/both nodes had the address for 3 ms/]],
    ['two owners that cannot be avoided', result('split', { twoOwnersMs: 800 }), []],
    ['still two', result('cut', { holders: ['lb1', 'lb2'] }), [/held by lb1 and lb2/]],
    ['a lying ARP entry', result('cut', { neighbour: 'lb1' }), [/points to lb1, not to lb2/]],
    [
      'it moved without need',
      result('loss', { to: 'lb1', holders: ['lb1'], neighbour: 'lb1', changes: moved }),
      [/moved without need/],
    ],
    [
      'it came back',
      result('agent-stop', { changes: [...result('cut').changes!, { atMs: 1900, node: 'lb1', held: true }] }),
      [/lb1 took the address again/],
    ],
    [
      'a reset at a planned switchover',
      result('switchover', { keptAlive: { total: 20, broken: 1, causes: ['ECONNRESET'] } }),
      [/open connections broke: ECONNRESET/],
    ],
  ];
  for (const [why, given, says] of cases) {
    const found = broken(given);
    t.equal(found.length, says.length, why);
    for (const [i, line] of says.entries()) t.match(found[i], line);
  }
});

t.test('after the end of a fault that was watched', async (t) => {
  const drop = { atMs: 2040, node: 'lb1', held: false } as const;
  const split = result('split', {
    endedAtMs: 2000,
    changes: [{ atMs: 1300, node: 'lb2', held: true }, drop],
  });
  t.equal(resolvedMs(split), 40);
  t.notOk(regained(split));
  t.equal(resolvedMs(result('agent-stop', { endedAtMs: 3000 })), 0, 'one owner before the end');
  t.equal(resolvedMs(result('cut')), undefined, 'it did not end');
  t.equal(resolvedMs({ ...split, holders: ['lb1', 'lb2'] }), undefined, 'never resolved');
});

t.test('the table has a line for each make and tells what lasts', async (t) => {
  const rows: Row[] = [
    { make: 'Tandem', fault: 'cut', heartbeatMs: 100, results: [result('cut'), result('cut')] },
    {
      make: 'keepalived',
      fault: 'cut',
      heartbeatMs: 100,
      results: [result('cut', { twoOwnersMs: 3000, holders: ['lb1', 'lb2'] })],
    },
  ];
  const lines = tableOf(rows).split('\n').slice(2);
  const columns = lines.map((line) => line.split('|').length);
  t.strictSame(new Set(columns).size, 1, 'every line has as many columns');
  t.match(lines[2], /cable .*\| 100 ms \| Tandem \| 2 \| ≤ 330 \| 20 \/ 20 \/ 20 \|.*\| 0 \|$/);
  t.match(lines[3], /keepalived \+ HAProxy \| 1 .*3000 \/ 3000 \/ 3000 \(1 of 1 without end\)/);
  t.match(figures(rows[0]!.results[0]!), { blackout_ms: 20, two_owners_ms: 0, broken: [] });
});

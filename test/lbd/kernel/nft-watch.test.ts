import t from 'tap';
import { MonitorLines } from '../../../lbd/kernel/nft-watch.ts';

t.test('a transaction that touches the table is told with its author', async (t) => {
  const lines = new MonitorLines();
  const take = (...texts: string[]) => texts.map((text) => lines.take(text)).at(-1);
  const end = '# new generation 7 by process 4711 (nft)';
  t.equal(take('add table ip filter', 'add rule inet tandem_lb_cut output x', end), undefined);
  for (const line of [
    'delete table inet tandem_lb',
    'add rule inet tandem_lb input ct state new',
    'delete element inet tandem_lb frontends4 { 10.0.0.1 . tcp . 80 : goto pool/p }',
  ])
    t.strictSame(take('add table ip filter', line, end), { pid: 4711, program: 'nft' }, line);
  t.equal(take(end), undefined, 'it does not count for the next one');
});

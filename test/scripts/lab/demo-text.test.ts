import t from 'tap';
import { timelineText } from '../../../scripts/lab/demo-text.ts';
import type { FaultResult } from '../../../scripts/lab/scenario.ts';

t.test('what was before the fault has one sign, what came after it the other', async (t) => {
  const result = {
    fault: 'cut',
    from: 'lb1',
    faultAtMs: 1_000,
    probe: { atMs: 904, blackoutMs: 300 },
    events: [],
  } as unknown as FaultResult;
  const times = timelineText(result)
    .split('\n')
    .map((line) => line.trim().split('  ')[0]);
  t.strictSame(times, ['-96 ms', '+0 ms', '+204 ms']);
  const close = { ...result, probe: { ...result.probe, atMs: 999.7 } };
  t.match(timelineText(close), /^ +\+0 ms +client/, 'no minus zero');
});

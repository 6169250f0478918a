import t from 'tap';
import type { FaultName } from '../../scripts/lab/faults.ts';
import { skipLab } from '../../scripts/lab/missing.ts';
import { eachFault, startPair } from './fault-run.ts';

const PATHS: readonly FaultName[] = ['mute', 'deaf', 'filtered', 'loss', 'double', 'late'];

t.test('the heartbeats have trouble on their way', { skip: skipLab() }, async (t) => {
  const pair = await startPair(t);
  await eachFault(t, pair, PATHS, { lastsMs: 4000 });

  await eachFault(t, pair, ['split'], { lastsMs: 1000 }, async (t, { from, changes = [], endedAtMs = 0 }) => {
    const after = changes.filter(({ atMs }) => atMs >= endedAtMs);
    t.strictSame(
      after.map(({ node, held }) => ({ node, held })),
      [{ node: from, held: false }],
      'after the heal the loser drops the VIP, and nothing else changes hands',
    );
  });
});

/** `TANDEM_LONG=1`: ten minutes. */
const isLong = process.env.TANDEM_LONG === '1';
if (isLong) t.setTimeout(900_000);
const skip = isLong ? skipLab() : 'opt-in: TANDEM_LONG=1';
t.test('30 % loss on one path for ten minutes', { skip, timeout: 800_000 }, async (t) => {
  const pair = await startPair(t);
  await eachFault(t, pair, ['loss'], { lastsMs: 600_000 });
});

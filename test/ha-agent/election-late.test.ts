import t from 'tap';
import { initialState, reportOf, step } from '../../ha-agent/election.ts';
import { activeLimitMs } from '../../ha-agent/election-times.ts';
import type { ElectionState } from '../../ha-agent/election-types.ts';
import { NOT_SLOW, ticked } from '../../ha-agent/slowness.ts';
import { CONFIG } from './story.ts';

t.test('a node that is late again and again complains until it says that it is slow', (t) => {
  let state = step(CONFIG, initialState(CONFIG, 0), { type: 'start', now: 0 }).state;
  const warnings = [500, 1000, 1500, 2000].map((now) => {
    const result = step(CONFIG, state, { type: 'tick', now });
    state = result.state;
    t.ok(
      result.actions.some(({ type }) => type === 'renew-nonce'),
      'the conclusions are the same each time',
    );
    return result.actions.flatMap((action) =>
      action.type === 'log' && action.level === 'warn' ? action.text.replace(/[:,].*/, '') : [],
    );
  });
  t.same(warnings, [
    ['this process was paused or starved'],
    ['this process was paused or starved', 'this process gets its processor late'],
    [],
    [],
  ]);
  t.end();
});

t.test('a silent peer of the former release has no patience, whatever it was told', (t) => {
  const told = ticked(CONFIG, ticked(CONFIG, NOT_SLOW, 600, 600), 600, 1200);
  const report = reportOf(CONFIG, initialState(CONFIG, 0), 0);
  const state = (deadTimeMs: number | undefined): ElectionState => ({
    ...initialState(CONFIG, 0),
    role: 'active',
    lastTickMs: 2000,
    slowness: told,
    peer: { report: { ...report, deadTimeMs }, heardMs: 100, healthySinceMs: 0 },
  });
  t.equal(activeLimitMs(CONFIG, state(300)), 250 + told.extraMs, 'one of today may have heard of it');
  t.equal(activeLimitMs(CONFIG, state(undefined)), 250);
  t.end();
});

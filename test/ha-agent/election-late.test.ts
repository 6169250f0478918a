import t from 'tap';
import { initialState, step } from '../../ha-agent/election.ts';
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

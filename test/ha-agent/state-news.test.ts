import { mock } from 'node:test';
import t from 'tap';
import { StateNews } from '../../ha-agent/state-news.ts';

t.test(
  'a state that flaps is told a few times at once, and then now and then with the number of changes',
  (t) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const told: [string | undefined, number][] = [];
    const news = new StateNews((why, changes) => void told.push([why, changes]));
    const flap = () => {
      for (let i = 0; i < 50; i++) {
        news.change('EPERM');
        news.change(undefined);
      }
      return told.splice(0).map(([, changes]) => changes);
    };
    t.strictSame(flap(), [1, 1, 1, 1]);
    mock.timers.tick(5_000);
    t.strictSame(told.splice(0), [[undefined, 96]]);
    t.strictSame(flap(), [], 'it goes on');
    mock.timers.tick(5_000);
    t.strictSame(told.splice(0), [[undefined, 100]]);
    mock.timers.tick(5_000);
    t.strictSame(flap(), [1, 1, 1, 1], 'it was quiet for a while');
    news.close();
    t.end();
  },
);

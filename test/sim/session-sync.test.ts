import t from 'tap';
import { play, TIMEOUT_MS } from './seeds.ts';

t.setTimeout(TIMEOUT_MS);

t.test(
  'whatever happens: what was acknowledged is known to both nodes, and both have the same in the end',
  (t) => play(t, 'session-sync'),
);

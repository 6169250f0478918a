import t from 'tap';
import { play, TIMEOUT_MS } from './seeds.ts';

t.setTimeout(TIMEOUT_MS);

t.test(
  'whatever roles the agents take: a connection that was acknowledged goes on, and no split costs one',
  (t) => play(t, 'flow-roles'),
);

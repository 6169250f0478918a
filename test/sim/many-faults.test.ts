import t from 'tap';
import { play, TIMEOUT_MS } from './seeds.ts';

t.setTimeout(TIMEOUT_MS);

t.test('whatever happens together: nobody or two serve only when they must, and one does in the end', (t) =>
  play(t, 'many-faults'),
);

import t from 'tap';
import { play, TIMEOUT_MS } from './seeds.ts';

t.setTimeout(TIMEOUT_MS);

t.test('each fault costs what it may cost, and the right node serves afterwards', (t) =>
  play(t, 'one-fault'),
);

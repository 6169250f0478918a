import t from 'tap';
import { ALGORITHMS } from '../../common/model.ts';
import { didYouMean, suggest } from '../../common/suggest.ts';

const KEYS = ['algorithm', 'hash', 'stick', 'health', 'drain_timeout', 'timeouts', 'backends'];

for (const [word, meant] of [
  ['algoritm', 'algorithm'],
  ['helath', 'health'],
  ['backend', 'backends'],
  ['Stick', 'stick'],
  ['drain-timeout', 'drain_timeout'],
  ['drain', 'drain_timeout'],
  ['weight', undefined],
  ['x', undefined],
  ['', undefined],
  ['y'.repeat(100_000), undefined],
] as const)
  t.equal(suggest(word, KEYS), meant, word.slice(0, 20));

t.equal(suggest('least-conn', ALGORITHMS), 'least-connections');
t.equal(suggest('roundrobin', ALGORITHMS), 'round-robin');
t.equal(suggest('wed', ['web', 'api']), 'web');
t.equal(didYouMean('wed', ['web', 'api']), '; did you mean "web"?');
t.equal(didYouMean('zzz', ['web', 'api']), '');

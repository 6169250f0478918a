import t from 'tap';
import { anchor, prose, table } from '../../../scripts/docs/markdown.ts';

t.test('a text means nothing but what it says, outside of code', async (t) => {
  t.equal(prose('a*b | [c] <d> max_size "_"'), 'a\\*b \\| \\[c\\] \\<d\\> max_size "\\_"');
  t.equal(prose('see `*:80` or `a|b`*'), 'see `*:80` or `a\\|b`\\*');
});

t.test('a link leads where GitHub puts a heading', async (t) => {
  t.equal(anchor('pools.X.health'), '#poolsxhealth');
  t.equal(anchor('ha.vips[]'), '#havips');
  t.equal(anchor('access_log'), '#access_log');
  t.equal(anchor('What needs a restart'), '#what-needs-a-restart');
});

t.test('a table', async (t) => {
  t.equal(table(['a', 'b'], [['1', '2']]), '| a | b |\n| --- | --- |\n| 1 | 2 |');
});

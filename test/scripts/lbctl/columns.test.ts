import t from 'tap';
import { fittingFacts, fittingTable, wrapped } from '../../../scripts/lbctl/columns.ts';
import { table } from '../../../scripts/lbctl/format.ts';

const HEAD = ['BACKEND', 'ADDRESS', 'ERRORS', 'FOR', 'WHY'];
const ROWS = [
  ['web/s1', '10.0.0.1:80', '0', '2h', 'status 200'],
  ['web/s2', '10.0.0.2:80', '17', '3s', 'status 500, expected 200-399, and much more to be said about it'],
];
const SPARE = { columns: ['ERRORS', 'FOR'], below: true };

t.test('a table that fits, or goes into a file, is as it is', async (t) => {
  t.equal(fittingTable(HEAD, ROWS, SPARE, 200), table(HEAD, ROWS));
  t.equal(fittingTable(HEAD, ROWS, SPARE, undefined), table(HEAD, ROWS));
});

t.test(
  'a table that does not fit: the last column goes below, then spare ones go, in their order',
  async (t) => {
    t.equal(
      fittingTable(HEAD, ROWS, SPARE, 40),
      [
        'BACKEND  ADDRESS      ERRORS  FOR',
        'web/s1   10.0.0.1:80  0       2h',
        '  status 200',
        'web/s2   10.0.0.2:80  17      3s',
        '  status 500, expected 200-399, and much',
        '  more to be said about it',
      ].join('\n'),
    );
    t.match(fittingTable(HEAD, ROWS, SPARE, 30), /^BACKEND {2}ADDRESS {6}FOR\n/);
    t.match(fittingTable(HEAD, ROWS, SPARE, 20), /^BACKEND {2}ADDRESS\n/, 'what nobody can do without stays');
  },
);

t.test('facts', async (t) => {
  const rows = [
    ['node', 'lb1 · active · epoch 1'],
    ['path', 'multicast · up'],
  ];
  t.equal(fittingFacts(rows, undefined), table([], rows));
  t.equal(fittingFacts(rows, 22), 'node  lb1 · active ·\n      epoch 1\npath  multicast · up');
  t.same(wrapped('\x1b[31mred\x1b[39m blue', 8), ['\x1b[31mred\x1b[39m blue'], 'colours take no room');
  t.same(wrapped('averylongword b', 4), ['averylongword', 'b']);
});

import t from 'tap';
import { toJournal, withPriority } from '../../common/logger.ts';

t.test('lines for the journal begin with their priority (sd-daemon(3))', async (t) => {
  for (const [level, priority] of [
    [10, 7],
    [20, 7],
    [30, 6],
    [40, 4],
    [50, 3],
    [60, 2],
  ])
    t.equal(withPriority(`{"level":${level},"msg":"a"}\n`), `<${priority}>{"level":${level},"msg":"a"}\n`);
  t.equal(withPriority('something else\n'), 'something else\n');
});

t.test('the journal is where JOURNAL_STREAM says, and nowhere else', async (t) => {
  const stat = { dev: 8, ino: 42 };
  t.ok(toJournal('8:42', stat));
  for (const other of [undefined, '', '8:43', '9:42', '8', 'x']) t.notOk(toJournal(other, stat), `${other}`);
});

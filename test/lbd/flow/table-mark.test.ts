import t from 'tap';
import { tableMark } from '../../../lbd/flow/table-mark.ts';

t.test('a connection table has the same name as long as the kernel has it', async (t) => {
  t.match(tableMark(), /^[0-9a-f]{16}$/);
  t.equal(tableMark(), tableMark());
  t.equal(
    tableMark(() => '1\n'),
    tableMark(() => '1\n'),
  );
});

t.test('after a boot it has another one', async (t) =>
  t.not(
    tableMark(() => '1\n'),
    tableMark(() => '2\n'),
  ),
);

t.test('a kernel that tells no boot id is an error', async (t) => {
  const fails = () => {
    throw new Error('ENOENT');
  };
  t.throws(() => tableMark(fails), /ENOENT/);
});

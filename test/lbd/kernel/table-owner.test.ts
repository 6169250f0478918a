import { randomUUID } from 'node:crypto';
import t from 'tap';
import { TableOwner } from '../../../lbd/kernel/table-owner.ts';
import { until } from '../../../scripts/lab/wait.ts';

t.test('a table is claimed until its owner ends, and then the next one can', async (t) => {
  const name = `\0tandem-test-${randomUUID()}`;
  const [first, second, other] = [new TableOwner(name), new TableOwner(name), new TableOwner(name)];
  t.teardown(() => {
    for (const owner of [first, second]) owner.close();
  });
  t.equal(await other.isClaimed(), false);
  first.claim();
  first.claim();
  await until('it is claimed', async () => (await other.isClaimed()) || undefined);
  second.claim();
  t.equal(await other.isClaimed(), true);
  first.close();
  await until('it is free', async () => !(await other.isClaimed()) || undefined);
  await until('the next one has it', async () => {
    second.claim();
    return (await other.isClaimed()) || undefined;
  });
});

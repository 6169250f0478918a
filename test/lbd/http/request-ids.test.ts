import t from 'tap';
import { RequestIds } from '../../../lbd/http/request-ids.ts';

t.test('a prefix and a number that grows', (t) => {
  const ids = new RequestIds('lb-');
  const wrong: string[] = [];
  for (let n = 0; n < 36 ** 3 + 2; n++) {
    const id = ids.next();
    if (id !== `lb-${n.toString(36)}`) wrong.push(`${n}: ${id}`);
  }
  t.same(wrong, []);
  t.end();
});

import t from 'tap';
import { parseHosts } from '../../../../lbd/control/names/hosts-file.ts';

t.test('every name of a line has its address, and a name of several lines has several', (t) => {
  const hosts = parseHosts(
    ['127.0.0.1 localhost', '10.0.0.1\tDB.shop.example db # the old one', 'nonsense db', '10.0.0.2 db'].join(
      '\n',
    ),
  );
  t.strictSame(hosts.get('db'), ['10.0.0.1', '10.0.0.2']);
  t.strictSame(hosts.get('db.shop.example'), ['10.0.0.1']);
  t.equal(hosts.get('one'), undefined);
  t.end();
});

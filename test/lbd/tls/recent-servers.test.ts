import { createServer, type Server } from 'node:tls';
import t from 'tap';
import { RecentServers } from '../../../lbd/tls/recent-servers.ts';

t.test(
  'so many servers at most, the least recently used goes; and those of other certificates',
  async (t) => {
    const forgotten: Server[] = [];
    const servers = new RecentServers(2, (server) => forgotten.push(server));
    const made: string[] = [];
    const get = (key: string, name = key) =>
      servers.get(key, name, () => {
        made.push(key);
        return createServer();
      });
    const [a, b] = [get('a'), get('b')];
    t.equal(get('a', 'another name of it'), a);
    get('c');
    t.same(forgotten, [b]);
    t.equal(get('a'), a, 'it was used');
    t.not(get('b'), b);
    t.same(made, ['a', 'b', 'c', 'b']);
    t.equal(servers.size, 2);
    t.throws(() =>
      servers.get('d', 'd', () => {
        throw new Error('no');
      }),
    );
    t.equal(servers.size, 2, 'what cannot be made is not kept');
    servers.keepOnly((name) => (name === 'a' ? 'a' : 'renewed'));
    t.equal(servers.size, 1);
    t.equal(get('a'), a);
  },
);

import t from 'tap';
import { parseConfig } from '../../../common/config.ts';
import { ConfigError, OperatorError } from '../../../common/errors.ts';
import { keySchema, keysOf } from '../../../common/json-schema.ts';
import type { Config } from '../../../common/model.ts';
import type { Keys } from '../../../common/secret.ts';
import { compareConfigs, Reloader, restartNeeded } from '../../../lbd/control/reload.ts';
import { PAIR } from '../../common/config-helper.ts';
import { testConfig } from './test-config.ts';

const one = testConfig({ pools: { web: { s1: 1 } } });

t.test('what differs is named', async (t) => {
  const next = testConfig({
    pools: { web: { s1: 2 }, api: { a1: 1 } },
    ports: [8081, 9090],
    more: 'admin: { metrics: false }',
  });
  t.same(compareConfigs(one, next), {
    newBinds: [{ what: 'frontend api', protocol: 'tcp', host: '127.0.0.1', port: 9090 }],
    changes: ['frontend api added', 'pool web changed', 'pool api added', 'admin changed'],
  });
  t.same(compareConfigs(next, one).changes, [
    'frontend api removed',
    'pool web changed',
    'pool api removed',
    'admin changed',
  ]);
  t.same(compareConfigs(one, testConfig({ pools: { web: { s1: 1 } } })), { newBinds: [], changes: [] });
});

t.test('a port that we hold is not tried again', async (t) => {
  const next = { ...one, frontends: one.frontends.map((f) => ({ ...f, bind: [{ host: '*', port: 8081 }] })) };
  t.same(compareConfigs(one, next).newBinds, []);
});

t.test('what needs a restart is named with the value in force', async (t) => {
  const next = {
    ...one,
    workers: 8,
    directIo: false as const,
    sessions: { capacity: 2048 },
    sync: { flowMarks: 0, port: 7999 },
  };
  t.same(restartNeeded(one, next), [
    'workers is now 8, but needs a restart of lbd; 2 is in force',
    'direct_io is now false, but needs a restart of lbd; true is in force',
    'sessions.capacity is now 2048, but needs a restart of lbd; 1048576 is in force',
    'sync.port is now 7999, but needs a restart of lbd; 7472 is in force',
  ]);
  t.same(restartNeeded(one, one), []);
});

t.test('the schema says a restart of just what a reload says it of', async (t) => {
  const read = (text: string) => parseConfig(text, '/f', { node: 'lb1', cpus: 2 });
  const pair = `${PAIR}workers: 2\nsync: { port: 7472 }\nsessions: { capacity: 2048 }\ndirect_io: true\n`;
  const changes = {
    cluster: [/.*\nha: .*\n/, ''],
    'cluster.name': ['shop', 'shops'],
    'cluster.nodes': ['lb2', 'lb3'],
    'cluster.nodes.X.address': ['192.0.2.2', '192.0.2.3'],
    'sessions.capacity': ['2048', '4096'],
    'sync.port': ['7472', '7999'],
    workers: ['workers: 2', 'workers: 3'],
    direct_io: ['direct_io: true', 'direct_io: false'],
  } as const;
  const needs = keysOf(keySchema()).filter(({ key }) => key['x-restart'] !== undefined);
  t.strictSame(needs.map(({ path }) => path).toSorted(), Object.keys(changes).toSorted());
  for (const [path, [from, to]] of Object.entries(changes))
    t.not(restartNeeded(read(pair), read(pair.replace(from, to))).length, 0, path);
});

/** A reloader over a list of files, and what it does in order. */
function setUp(
  files: (Config | Error)[],
  more: { taken?: string[]; problems?: string[]; fails?: Error; unfit?: Error } = {},
) {
  const done: string[] = [];
  const candidate = (config: Config) => ({ config, fingerprint: JSON.stringify(config), text: config.file });
  const reloader = new Reloader({
    started: candidate(one),
    load: async () => {
      const file = files.shift()!;
      if (file instanceof Error) throw file;
      return candidate(file);
    },
    checkFit: () => {
      if (more.unfit !== undefined) throw more.unfit;
    },
    preflight: async (binds) => {
      done.push(`preflight ${binds.map((b) => b.port)}`);
      return more.taken ?? [];
    },
    apply: async (next) => {
      done.push(`apply ${next.frontends.map((f) => f.name)}`);
      if (more.fails !== undefined) throw more.fails;
      return more.problems ?? [];
    },
    accepted: () => {},
    tell: (level, text) => {
      done.push(`${level} ${text}`);
      return 'NOW';
    },
  });
  return { reloader, done };
}

const two = testConfig({ pools: { web: { s1: 1 }, api: { a1: 1 } } });

t.test('a good config comes into force', async (t) => {
  const { reloader, done } = setUp([two, two]);
  t.same(await reloader.reload(), {
    outcome: 'applied',
    changes: ['frontend api added', 'pool api added'],
    problems: [],
    warnings: [],
  });
  t.equal(reloader.config, two);
  t.same(done, [
    'preflight 8082',
    'apply web,api',
    'info reload: /etc/tandem/tandem.yaml is in force: frontend api added, pool api added',
  ]);
});

t.test('another secret is named, though the file is the same', async (t) => {
  const said: string[] = [];
  const [former, next] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const candidate = (fingerprint: string, keys: Keys) => ({ config: one, fingerprint, keys, text: '' });
  const reloader = new Reloader({
    started: candidate('a', [former]),
    load: async () => candidate('b', [next, former]),
    checkFit: () => {},
    preflight: async () => [],
    apply: async () => [],
    accepted: () => {},
    tell: (_level, text) => {
      said.push(text);
      return 'NOW';
    },
  });
  t.match(await reloader.check(), { outcome: 'accepted', changes: ['the secrets changed'] });
  t.match(await reloader.reload(), { outcome: 'applied', changes: ['the secrets changed'] });
  t.match(said, [/is in force: the secrets changed$/]);
});

t.test('an unchanged file is a no-op that says so', async (t) => {
  const bad = new ConfigError([{ where: 'a.yaml:1:1', key: 'x', message: 'x is wrong' }]);
  const { reloader, done } = setUp([one, bad, one]);
  t.same(await reloader.reload(), { outcome: 'unchanged', changes: [], problems: [], warnings: [] });
  t.same(done, ['info reload: /etc/tandem/tandem.yaml is unchanged: nothing to do']);
  await reloader.reload();
  t.match(reloader.error, /x is wrong/);
  t.same(reloader.warnings(), [
    'lbd did not load the config file at NOW, what it had before stays in force: a.yaml:1:1: x is wrong',
  ]);
  t.match(await reloader.reload(), { outcome: 'unchanged' });
  t.equal(reloader.error, undefined, 'the file is as the config in force again');
  t.notOk(done.some((line) => line.startsWith('apply')));
});

t.test('a check tells what a reload would do, and changes nothing', async (t) => {
  const bad = new ConfigError([{ where: 'a.yaml:1:1', key: 'x', message: 'x is wrong' }]);
  const { reloader, done } = setUp([two, one, bad]);
  t.match(await reloader.check(), { outcome: 'accepted', changes: ['frontend api added', 'pool api added'] });
  t.match(await reloader.check(), { outcome: 'unchanged' });
  t.match(await reloader.check(), { outcome: 'refused', problems: ['a.yaml:1:1: x is wrong'] });
  t.equal(reloader.config, one);
  t.equal(reloader.error, undefined);
  t.same(done, ['preflight 8082', 'preflight ']);
});

t.test('a refused config changes nothing and is told with all its problems', async (t) => {
  const bad = new ConfigError([
    { where: 'a.yaml:1:1', key: 'x', message: 'x is wrong' },
    { where: 'a.yaml:2:1', key: 'y', message: 'y is wrong' },
  ]);
  const { reloader, done } = setUp([bad, two]);
  await reloader.reload();
  t.equal(reloader.config, one);
  t.equal(reloader.error, 'a.yaml:1:1: x is wrong; a.yaml:2:1: y is wrong');
  t.same(done, [
    'warn reload refused, the old config stays: a.yaml:1:1: x is wrong',
    'warn reload refused, the old config stays: a.yaml:2:1: y is wrong',
  ]);
  await reloader.reload();
  t.equal(reloader.config, two);
  t.equal(reloader.error, undefined, 'the next good one clears it');
});

t.test('a bind that is taken refuses the whole config before anything is applied', async (t) => {
  const { reloader, done } = setUp([two], { taken: ['frontend api: taken'] });
  await reloader.reload();
  t.equal(reloader.config, one);
  t.equal(reloader.error, 'frontend api: taken');
  t.notOk(done.some((line) => line.startsWith('apply')));
});

t.test('one that does not fit is refused', async (t) => {
  const unfit = new OperatorError('TOO_MANY', '9999 backends do not fit');
  const { reloader, done } = setUp([two], { unfit });
  t.match(await reloader.reload(), { outcome: 'refused', problems: ['9999 backends do not fit'] });
  t.equal(reloader.config, one);
  t.equal(reloader.error, '9999 backends do not fit');
  t.notOk(
    done.some((line) => line.startsWith('apply')),
    'before anything is tried',
  );
});

t.test('one that cannot be applied is refused', async (t) => {
  const { reloader } = setUp([two], { fails: new OperatorError('TLS', 'no such certificate') });
  await reloader.reload();
  t.equal(reloader.config, one);
  t.equal(reloader.error, 'no such certificate');
});

t.test('what the workers could not do is told, the rest is in force', async (t) => {
  const { reloader, done } = setUp([two, two], { problems: ['frontend api: taken'] });
  await reloader.reload();
  t.equal(reloader.config, two);
  t.equal(reloader.error, 'in force except: frontend api: taken');
  t.equal(done.at(-1), 'warn reload: frontend api: taken');
  t.match(await reloader.reload(), { outcome: 'applied' }, 'the same file again: it is tried again');
});

t.test('a restart that is needed is told and stays a warning', async (t) => {
  const { reloader, done } = setUp([{ ...two, workers: 8 }]);
  await reloader.reload();
  t.match(reloader.warnings(), [/^workers is now 8/]);
  t.ok(done.some((line) => line.startsWith('warn workers is now 8')));
});

t.test('signals during a reload make it run once more, not more often', async (t) => {
  const { reloader, done } = setUp([two, one]);
  await Promise.all([reloader.reload(), reloader.reload(), reloader.reload()]);
  t.equal(reloader.config, one);
  t.equal(done.filter((line) => line.startsWith('apply')).length, 2);
});

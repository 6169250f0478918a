import t from 'tap';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseConfig } from '../../common/config.ts';
import { defaultText, jsonSchema, type KeySchema, keySchema, keysOf } from '../../common/json-schema.ts';
import { schema } from '../../common/schema.ts';

const KEYS = keysOf(keySchema());

t.test('every key says what it is for, and what it is where it is left out', async (t) => {
  t.ok(KEYS.length > 150);
  const without = (has: (it: (typeof KEYS)[number]) => boolean) =>
    KEYS.filter((it) => !has(it)).map(({ path }) => path);
  t.strictSame(
    without(({ key }) => /^\S.*[.)]$/s.test(key.description ?? '')),
    [],
    'keys without a description in sentences',
  );
  t.strictSame(
    without(({ key, required }) => required || key.default !== undefined || key['x-default'] !== undefined),
    [],
    'keys that may be left out, without a default',
  );
  t.strictSame(
    without(
      ({ key }) => key['x-expected'] !== undefined || key.enum !== undefined || key.const !== undefined,
    ),
    [],
    'keys without a word on what is expected',
  );
});

t.test('what is said of keys is known', async (t) => {
  const known = ['x-default', 'x-restart', 'x-example', 'x-expected'];
  const said = KEYS.flatMap(({ key }) => Object.keys(key).filter((keyword) => keyword.startsWith('x-')));
  t.strictSame(new Set(said), new Set(known));
  t.strictSame(new Set(KEYS.map(({ key }) => key['x-restart'])), new Set([undefined, 'lbd', 'both daemons']));
});

t.test('every example and every default is taken', async (t) => {
  let examples = 0;
  z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema, path }) => {
      const { 'x-example': example, default: standard } = jsonSchema as KeySchema;
      for (const value of [example === undefined ? undefined : parse(example), standard])
        if (value !== undefined) t.ok(z.safeParse(zodSchema, value).success, `${path.join('.')}: ${example}`);
      if (example !== undefined) examples++;
    },
  });
  t.ok(examples > 30);
});

t.test('a default that another setting or the code gives is the one that is said', async (t) => {
  const file = (frontend: string, pool = '', top = '') => `
frontends: { web: { bind: "*:80", pool: web, ${frontend} } }
pools: { web: { backends: { s1: { address: "10.0.0.1:80" } }, ${pool} } }
${top}`;
  const access = (setting: string) => `access_log: { path: /log, ${setting} }`;
  const places: Record<string, (setting: string) => string> = {
    'access_log.max_size': (setting) => file('', '', access(setting)),
    'access_log.stdout': (setting) => file('', '', access(setting)),
    'frontends.X.access_log.max_size': (setting) => file(access(setting)),
    'frontends.X.access_log.stdout': (setting) => file(access(setting)),
    'frontends.X.engine': (setting) => file(`mode: tcp, ${setting}`),
    'frontends.X.on_backend_down': (setting) => file(`mode: tcp, ${setting}`),
    'frontends.X.protocols': (setting) => file(setting),
    'frontends.X.timeouts.idle': (setting) => file(`timeouts: { ${setting} }`),
    'pools.X.health.expect': (setting) => file('', `health: { type: http, ${setting} }`),
    'pools.X.health.timeout': (setting) => file('', `health: { ${setting} }`),
    ...Object.fromEntries(
      ['forward', 'path', 'same_site', 'secure'].map((key) => [
        `pools.X.stick.cookie.${key}`,
        (setting: string) => file('', `stick: { cookie: { name: SERVERID, ${setting} } }`),
      ]),
    ),
    'pools.X.stick.expire': (setting) => file('', `stick: { source: ip, ${setting} }`),
    'pools.X.stick.learn': (setting) => file('', `stick: { cookie: SERVERID, ${setting} }`),
    'pools.X.stick.prefix6': (setting) => file('', `stick: { source: ip, ${setting} }`),
  };
  const said = KEYS.flatMap(({ path, key }) => {
    const value = /^`([^`]+)`/.exec(key['x-default'] ?? '')?.[1];
    // Said in so many words it means more, see there.
    return value === undefined || path === 'frontends.X.snat' ? [] : [[path, value] as const];
  });
  t.strictSame(said.map(([path]) => path).toSorted(), Object.keys(places));
  const digest = (text: string) => parseConfig(text, '/f').digest;
  for (const [path, value] of said) {
    const setting = `${path.slice(path.lastIndexOf('.') + 1)}: ${value}`;
    t.equal(digest(places[path]!(setting)), digest(places[path]!('')), `${path}: ${value}`);
  }
});

t.test('editors get all of it in the description, and nothing that JSON Schema does not know', async (t) => {
  const published = jsonSchema() as KeySchema;
  const at = (path: string) => keysOf(published).find((it) => it.path === path)!.key;
  t.match(at('ha.heartbeat.interval'), {
    default: '100ms',
    description: 'Time between two heartbeats on each path. Expected: a duration from 10ms to 1m',
  });
  t.match(at('ha.heartbeat.dead_after'), { default: 3, minimum: 2, maximum: 100 });
  t.match(at('pools.X.algorithm').enum, ['round-robin', 'weighted-round-robin']);
  t.match(at('sync.port').description, /Default: `7472`\. A change needs a restart of lbd\.$/);
  t.match(at('ha.preempt'), { default: false, description: /Example: `\{ delay: 30s \}`$/ });
  t.match(at('pools.X.health.timeout').description, /Default: `5s`, or `interval` where that is shorter\./);
  t.notMatch(JSON.stringify(published), /"x-/);
});

t.test('a default that is made of others is not one to show', async (t) => {
  t.equal(defaultText({ default: {} }), undefined);
  t.equal(defaultText({ default: [{ type: 'unicast' }] }), '`[{type: unicast}]`');
  t.equal(defaultText({ default: '30s', 'x-default': 'it depends' }), 'it depends');
});

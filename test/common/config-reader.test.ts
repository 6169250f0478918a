import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { ReadConfig } from '../../common/config-process.ts';
import { ConfigReader } from '../../common/config-reader.ts';
import { ConfigError } from '../../common/errors.ts';
import type { LoadedConfig as AgentLoaded } from '../../ha-agent/config-process.ts';
import type { LoadedConfig } from '../../lbd/control/loaded-config.ts';
import { nodeCommand } from './node.ts';
import { refusedPriority } from './refused-priority.ts';
import { tempDir } from './temp-dir.ts';

t.jobs = 4;

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const script = (path: string) => pathToFileURL(join(ROOT, path));
const LBD = script('lbd/config-process.ts');
const AGENT = script('ha-agent/config-process.ts');

function readConfig<T>(script: URL, file: string, node: string | undefined): Promise<ReadConfig<T>> {
  const reader = new ConfigReader<T>(script, file, node);
  return reader.read().finally(() => reader.close());
}

const PAIR = `cluster:
  name: shop
  secret_file: secret
  nodes: { lb1: { address: 192.0.2.1 }, lb2: { address: 192.0.2.2 } }
ha:
  vips:
    - { address: 192.0.2.100/32, provider: lo }
    - { address: 192.0.2.101/24, interface: nosuch0 }
  paths: [{ type: unicast, port: 7471 }]
  notify: { active: /no/such/program }
frontends:
  web:
    bind: ["*:8080"]
    mode: http
    routes: [{ match: { path: { regex: "^/x" } }, pool: web }]
    pool: web
pools: { web: { drain_timeout: 7s, backends: { s1: { address: "127.0.0.1:9000" } } } }
`;

/** The config beside its secret. */
function writePair(t: Test): string {
  const directory = tempDir(t);
  writeFileSync(join(directory, 'secret'), Buffer.alloc(32, 1), { mode: 0o600 });
  const file = join(directory, 'tandem.yaml');
  writeFileSync(file, PAIR);
  return file;
}

t.test('a config comes whole out of the process that reads it', async (t) => {
  const file = writePair(t);
  const { value, fingerprint } = await readConfig<LoadedConfig>(LBD, file, 'lb2');
  t.match(value.config, { file, cluster: { self: { name: 'lb2' } }, pools: [{ name: 'web' }] });
  t.match(value.config.frontends[0]?.routes[0]?.match.path, { regex: /^\/x/ });
  const again = await readConfig<LoadedConfig>(LBD, file, 'lb2');
  t.equal(again.fingerprint, fingerprint);
  const { keys } = value;
  writeFileSync(join(dirname(file), 'secret'), Buffer.alloc(32, 2), { mode: 0o600 });
  const rekeyed = await readConfig<LoadedConfig>(LBD, file, 'lb2');
  t.not(rekeyed.fingerprint, fingerprint, 'another secret under the same name');
  t.equal(keys?.length, 1);
  t.notSame(rekeyed.value.keys, keys);
  writeFileSync(file, PAIR.replace('9000', '9001'));
  t.not((await readConfig<LoadedConfig>(LBD, file, 'lb2')).fingerprint, fingerprint);
});

t.test('the agent gets little of frontends and pools, and hears what its host does not have', async (t) => {
  const file = writePair(t);
  const { value, unmet } = await readConfig<AgentLoaded>(AGENT, file, 'lb1');
  const { config } = value;
  const health = { type: 'tcp', intervalMs: 10_000, timeoutMs: 5000 };
  t.strictSame(config.pools, [{ name: 'web', drainTimeoutMs: 7000, health }]);
  t.strictSame(
    config.frontends.map((frontend) => Object.keys(frontend)),
    [['name', 'bind', 'engine']],
  );
  t.match(unmet, [
    {
      subject: 'interface nosuch0',
      where: `${file}:8:45`,
      message: /^ha\.vips\.1\.interface: found nosuch0, but this host has only /,
    },
    {
      subject: 'program /no/such/program',
      where: `${file}:10:21`,
      message: /^ha\.notify\.active: found \/no\/such\/program, which cannot be run on this host/,
    },
  ]);
});

t.test('what is wrong with a file comes out as it would here', async (t) => {
  const directory = tempDir(t);
  const file = join(directory, 'tandem.yaml');
  writeFileSync(file, 'pols: {}\nworkers: 0\nfrontends: {}\npools: {}\n');
  const error = await readConfig(LBD, file, undefined).catch((thrown: unknown) => thrown);
  t.match(error, ConfigError);
  t.match((error as ConfigError).problems, [
    { where: `${file}:1:1`, message: /did you mean "pools"/ },
    { where: `${file}:2:10`, key: 'workers', message: /^workers: found the number 0/ },
  ]);
  writeFileSync(file, PAIR.slice(PAIR.indexOf('frontends')));
  await t.rejects(readConfig(AGENT, file, undefined), { code: 'NO_CLUSTER', message: /lbd runs alone/ });
});

t.test('a process that fails or dies is a refusal, and the next one may do better', async (t) => {
  const directory = tempDir(t);
  const broken = join(directory, 'broken.mjs');
  const step = join(directory, 'step');
  writeFileSync(
    broken,
    `import { readFileSync } from 'node:fs';
    import { serialize } from 'node:v8';
    const step = readFileSync(${JSON.stringify(step)}, 'utf8');
    if (step === 'fail') { console.error('no memory'); process.exit(3); }
    if (step === 'die') process.kill(process.ppid, 'SIGKILL');
    console.log('exit 0 is said by many');
    console.log('answer ' + serialize({ value: step, fingerprint: '' }).toString('base64'));`,
  );
  const reader = new ConfigReader<string>(pathToFileURL(broken), '/f', undefined);
  t.teardown(() => reader.close());
  const read = (what: string) => {
    writeFileSync(step, what);
    return reader.read();
  };
  const message = 'the config could not be read: its process ended with code 3: no memory';
  await t.rejects(read('fail'), { code: 'CONFIG_PROCESS', message });
  await t.rejects(read('die'), { code: 'CONFIG_PROCESS', message: /its process was ended$/ });
  t.match(await read('work'), { value: 'work' });
  t.same(
    (await Promise.all([reader.read(), reader.read()])).map(({ value }) => value),
    ['work', 'work'],
    'one after the other',
  );
});

/** What a reader answers, twice, in a Node that may or may not change priorities. */
async function readTwice(command: typeof nodeCommand, script: string): Promise<unknown[]> {
  const code = `import { ConfigReader } from ${JSON.stringify(String(new URL('common/config-reader.ts', pathToFileURL(ROOT))))};
    const reader = new ConfigReader(new URL(${JSON.stringify(String(pathToFileURL(script)))}), '/f');
    const answers = [];
    for (const _ of [1, 2])
      answers.push(await reader.read().then(({ value }) => value, ({ message }) => message));
    reader.close();
    console.log(JSON.stringify(answers));`;
  const [file, args] = command('--input-type=module', '-e', code);
  const { stdout } = await promisify(execFile)(file, args);
  return JSON.parse(stdout);
}

t.test(
  'where priorities may not be changed a file is read as well, after others of its machine',
  async (t) => {
    const directory = tempDir(t);
    const good = join(directory, 'good.mjs');
    writeFileSync(
      good,
      `import { readFileSync } from 'node:fs';
    import { getPriority } from 'node:os';
    import { serialize } from 'node:v8';
    const group = /nice (.*)/.exec(readFileSync('/proc/self/autogroup', 'latin1'))?.[1];
    const value = { nice: getPriority(), group };
    console.log('answer ' + serialize({ value, fingerprint: '' }).toString('base64'));`,
    );
    const broken = join(directory, 'broken.mjs');
    writeFileSync(broken, "console.error('no memory'); process.exit(3);");
    const own = getPriority();
    const hasGroups = existsSync('/proc/self/autogroup');
    if (hasGroups) {
      const [first, second] = await readTwice(nodeCommand, good);
      t.match([first, second], [{ nice: own }, { nice: Math.min(own + 5, 19) }]);
      t.match(await readTwice(refusedPriority, good), [
        { nice: own, group: '0' },
        { nice: own, group: '5' },
      ]);
    }
    const message = 'the config could not be read: its process ended with code 3: no memory';
    t.strictSame(
      await readTwice(refusedPriority, broken),
      [message, message],
      'the cause is the one of the file',
    );
  },
);

/** Files and packages that a file brings into its process, by way of static and dynamic imports. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const text = readFileSync(join(ROOT, file), 'utf8');
  for (const [, what = '', from, dynamic] of text.matchAll(
    /^(?:import|export) ([^;]*?)from '([^']+)'|import\('([^']+)'\)/gm,
  )) {
    const target = from ?? dynamic ?? '';
    if (what.startsWith('type ')) continue;
    if (target.startsWith('.')) loadedBy(resolve('/', dirname(file), target).slice(1), seen);
    else seen.add(target);
  }
  return seen;
}

t.test('parser and schema are not in the process that beats', async (t) => {
  const agent = loadedBy('ha-agent/run.ts');
  t.ok(agent.has('ha-agent/agent.ts') && agent.has('dgram-as-promised'), 'it looks at the right place');
  for (const name of ['yaml', 'zod', 'common/config.ts', 'common/schema.ts']) t.notOk(agent.has(name), name);
  const lbd = loadedBy('lbd/run.ts');
  t.ok(lbd.has('lbd/control/control-plane.ts'));
  for (const name of ['yaml', 'common/config.ts', 'common/schema.ts']) t.notOk(lbd.has(name), name);
});

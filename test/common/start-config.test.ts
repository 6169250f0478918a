import { execFileSync } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { AcceptedConfig } from '../../common/accepted-config.ts';
import type { ConfigError } from '../../common/errors.ts';
import { parseSource } from '../../common/source.ts';
import { type StartConfig, StartConfigs } from '../../common/start-config.ts';
import type { LoadedConfig } from '../../ha-agent/config-process.ts';
import { filesIn, tempDir } from './temp-dir.ts';

t.jobs = 4;

const SCRIPT = pathToFileURL(fileURLToPath(new URL('../../ha-agent/config-process.ts', import.meta.url)));
const ACCEPTED = new Date('2030-01-01T00:00:00Z');
const GOOD = `cluster:
  name: shop
  secret_file: secret
  nodes: { lb1: { address: 192.0.2.1 }, lb2: { address: 192.0.2.2 } }
ha:
  vips:
    - { address: 192.0.2.100/32, provider: lo }
  paths: [{ type: unicast, port: 7471 }]
frontends: { web: { bind: ["*:8080"], mode: http, pool: web } }
pools: { web: { backends: { s1: { address: "127.0.0.1:9000" } } } }
`;
const MORE = '    - { address: 192.0.2.101/24, interface: nosuch0 }\n';
const LACKING = GOOD.replace('  paths:', `${MORE}  paths:`);
const FILE = '/etc/tandem "x"\n.yaml';
const BROKEN = `${GOOD}pols: {}\n`;

interface Given {
  readonly file: string;
  /** What was accepted last. */
  readonly accepted?: string;
  readonly strict?: boolean;
  readonly noSecret?: boolean;
  readonly noState?: boolean;
}

/** What an agent starts from whose state directory and config file are such. */
async function start(t: Test, given: Given): Promise<StartConfig<LoadedConfig>> {
  const directory = tempDir(t);
  const stateDir = join(directory, 'state');
  const config = join(directory, 'tandem.yaml');
  writeFileSync(config, given.file);
  if (!given.noSecret) writeFileSync(join(directory, 'secret'), Buffer.alloc(32, 1), { mode: 0o600 });
  if (given.noState) symlinkSync(stateDir, stateDir);
  else mkdirSync(join(stateDir, 'ha-agent'), { recursive: true });
  if (given.accepted !== undefined) {
    const copy = join(stateDir, 'ha-agent/accepted.yaml');
    writeFileSync(copy, given.accepted);
    utimesSync(copy, ACCEPTED, ACCEPTED);
  }
  const options = { config, node: 'lb1', runDir: directory, stateDir, strict: given.strict ?? false };
  const configs = new StartConfigs<LoadedConfig>(SCRIPT, options, 'ha-agent', () => {});
  return configs.choose().finally(() => configs.reader.close());
}

const vips = ({ read }: StartConfig<LoadedConfig>) => read.value.config.ha.vips.map(({ address }) => address);

t.test('a file that cannot be used leaves what was accepted last in force', async (t) => {
  const chosen = await start(t, { file: BROKEN, accepted: GOOD });
  t.match(chosen.substitute, {
    problems: [/tandem\.yaml:11:1: .*pols/],
    accepted: { atMs: ACCEPTED.getTime(), from: undefined },
  });
  t.match(chosen.read.value.config.file, /tandem\.yaml$/, 'what it refers to is beside the file');
  t.equal(chosen.read.text, GOOD);
});

t.test('a copy is what was accepted, and says which file that was', async (t) => {
  const directory = tempDir(t);
  const accepted = new AcceptedConfig(directory, 'ha-agent', FILE, (text) => t.fail(text));
  for (const text of [GOOD, GOOD.trimEnd(), `${GOOD}x-note: |+\n  text\n\n`]) {
    await accepted.keep(text);
    t.equal(accepted.last?.from, FILE);
    const copy = readFileSync(accepted.path, 'utf8');
    t.ok(copy.startsWith(text));
    t.same(parseSource(copy, FILE).value, parseSource(text, FILE).value);
  }
  await accepted.keep(`${GOOD}#${'x'.repeat(1024 ** 2 - GOOD.length - 1)}`);
  t.equal(readFileSync(accepted.path).length, 1024 ** 2, 'a file that fills what it may have: whole');
  t.match(accepted.last, { atMs: Number, from: undefined });
});

t.test('an interface that is missing is no reason to leave what was accepted last', async (t) => {
  const chosen = await start(t, { file: LACKING, accepted: GOOD });
  t.match(chosen.substitute?.problems, [/tandem\.yaml:8:\d+: ha\.vips\.1\.interface: found nosuch0/]);
  t.same(vips(chosen), ['192.0.2.100']);
});

t.test('where that lacks the same, the file is used', async (t) => {
  const file = `${LACKING}workers: 2\n`;
  const chosen = await start(t, { file, accepted: LACKING });
  t.equal(chosen.substitute, undefined);
  t.equal(chosen.read.text, file);
});

t.test('so it is where the other node has another name or address meanwhile', async (t) => {
  const file = LACKING.replace('192.0.2.2', '192.0.2.3');
  const chosen = await start(t, { file, accepted: GOOD });
  t.equal(chosen.substitute, undefined);
  t.same(vips(chosen), ['192.0.2.100', '192.0.2.101'], 'the agent leaves aside what it cannot have');
});

t.test('nothing was accepted yet, or nobody wants it', async (t) => {
  await t.rejects(start(t, { file: BROKEN }), { message: /pols/ });
  await t.rejects(start(t, { file: BROKEN, accepted: GOOD, strict: true }), { message: /pols/ });
  const chosen = await start(t, { file: LACKING, accepted: GOOD, strict: true });
  t.equal(chosen.substitute, undefined);
});

t.test('a state directory that leads nowhere is named beside what is wrong with the file', async (t) => {
  const error = await start(t, { file: BROKEN, noState: true }).catch((it) => it);
  t.match((error as ConfigError).problems, [{ message: /pols/ }, { message: /cannot be used: ELOOP/ }]);
  t.equal((await start(t, { file: LACKING, noState: true })).substitute, undefined, 'a good file is used');
});

t.test('neither can be used: both are named', async (t) => {
  const error = await start(t, { file: BROKEN, accepted: GOOD, noSecret: true }).catch((it) => it);
  t.match((error as ConfigError).problems, [
    { message: /pols/ },
    { message: /ha-agent\/accepted\.yaml\) cannot be used: the secret .* does not exist/ },
  ]);
});

t.test('a disk that takes nothing is told, and the next config is kept again', async (t) => {
  const directory = join(tempDir(t), 'state');
  writeFileSync(directory, 'not a directory');
  const said: string[] = [];
  const accepted = new AcceptedConfig(directory, 'lbd', FILE, (text) => said.push(text));
  await accepted.keep('one');
  t.match(accepted.warnings, [
    /^a start with a broken config file would fail, since this one could not be kept/,
  ]);
  t.same(said, accepted.warnings);
  await accepted.keep('one');
  t.equal(said.length, 1, 'said once');
  rmSync(directory);
  t.equal(accepted.last, undefined);
  await accepted.keep('two');
  t.same(accepted.warnings, []);
  t.match(accepted.last, { atMs: Number, from: FILE });
});

t.test('at its end a daemon waits for what the disk takes, and not for ever', async (t) => {
  const directory = tempDir(t);
  const accepted = new AcceptedConfig(directory, 'lbd', FILE, (text) => t.fail(text));
  void accepted.keep('one');
  await accepted.kept(60_000);
  t.same(filesIn(directory), ['lbd/accepted.yaml']);

  const stuck = new AcceptedConfig(directory, 'ha-agent', FILE, () => {});
  const next = join(directory, 'ha-agent/accepted.yaml.new');
  mkdirSync(dirname(next));
  execFileSync('mkfifo', [next]);
  const writing = stuck.keep('one');
  await stuck.kept(10);
  t.notOk(existsSync(stuck.path), 'nobody has opened the other end');
  createReadStream(next).resume();
  await writing;
});

t.test('what could not be written leaves nothing behind', async (t) => {
  const directory = tempDir(t);
  mkdirSync(join(directory, 'lbd/accepted.yaml'), { recursive: true });
  const said: string[] = [];
  const accepted = new AcceptedConfig(directory, 'lbd', FILE, (text) => said.push(text));
  await accepted.keep('one');
  t.match(said, [/could not be kept: EISDIR/]);
  t.same(filesIn(directory), []);
});

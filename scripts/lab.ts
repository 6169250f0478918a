#!/usr/bin/env -S node --disable-sigusr1
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { messageOf, OperatorError } from '../common/errors.ts';
import { ADDRESS, HOSTS, VIP } from './lab/hosts.ts';
import { Lab, type LabState, placeOf } from './lab/lab.ts';
import { TOOL_PATH } from './lab/missing.ts';

/** A directory that only this user can write; the state in it names pids that `down` kills. */
const DIRECTORY = join(process.env.TANDEM_LAB_DIR ?? tmpdir(), `tandem-lab-${userInfo().uid}`);
const STATE = join(DIRECTORY, 'lab.json');

interface Command {
  /** How it is written, and what it does. */
  readonly help: readonly [usage: string, text: string];
  /** How many arguments it takes. */
  readonly takes: number;
  run(args: string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  up: { help: ['up', 'build the hosts and their cables'], takes: 0, run: up },
  status: { help: ['status', 'hosts, addresses and what runs on them'], takes: 0, run: status },
  exec: { help: ['exec HOST CMD …', 'run a command on a host'], takes: Number.POSITIVE_INFINITY, run: exec },
  shell: {
    help: ['shell HOST', 'a shell on a host'],
    takes: 1,
    run: ([host]) => exec([host ?? '', shell()]),
  },
  down: { help: ['down', 'end all that runs on the hosts, and the hosts'], takes: 0, run: down },
};

async function up(): Promise<number> {
  if (find() !== undefined) throw new OperatorError('LAB_UP', 'the lab is up already; `lab.ts down` ends it');
  const lab = await Lab.up({ detached: true });
  mkdirSync(DIRECTORY, { recursive: true, mode: 0o700 });
  requireOwnDirectory();
  writeFileSync(STATE, JSON.stringify(lab.state), { mode: 0o600 });
  console.log(`The lab is up: ${HOSTS.join(', ')}; addresses as \`lab.ts status\` shows.`);
  return 0;
}

async function status(): Promise<number> {
  const lab = find();
  if (lab === undefined) {
    console.log('The lab is down.');
    return 1;
  }
  for (const host of HOSTS)
    console.log(`${host.padEnd(8)}${ADDRESS[host].padEnd(14)}${lab.processes(host).length} processes`);
  console.log(`${'VIP'.padEnd(8)}${VIP}`);
  return 0;
}

async function exec([name, ...argv]: string[]): Promise<number> {
  if (name === undefined || argv.length === 0) throw new OperatorError('USAGE', 'expected: exec HOST CMD …');
  const place = placeOf(name);
  const lab = find();
  if (lab === undefined) throw new OperatorError('LAB_DOWN', 'the lab is down; `lab.ts up` builds it');
  const [file, ...args] = lab.enter(place, argv, process.cwd());
  const result = spawnSync(file!, args, { stdio: 'inherit', env: { ...process.env, PATH: TOOL_PATH } });
  if (result.error !== undefined) throw result.error;
  return result.status ?? 1;
}

async function down(): Promise<number> {
  const lab = find();
  await lab?.down();
  rmSync(DIRECTORY, { recursive: true, force: true });
  console.log(lab === undefined ? 'The lab was down already.' : 'The lab is down.');
  return 0;
}

function shell(): string {
  return process.env.SHELL ?? '/bin/sh';
}

function find(): Lab | undefined {
  let text: string;
  try {
    text = readFileSync(STATE, 'utf8');
  } catch {
    return undefined;
  }
  requireOwnDirectory();
  return Lab.attach(JSON.parse(text) as LabState);
}

function requireOwnDirectory(): void {
  const { uid, mode } = statSync(DIRECTORY);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0)
    throw new OperatorError(
      'LAB_DIRECTORY',
      `${DIRECTORY} must belong to you and be writable by nobody else`,
    );
}

function usage(): string {
  const lines = Object.values(COMMANDS).map(({ help: [line, text] }) => `  ${line.padEnd(19)}${text}`);
  return `usage: lab.ts COMMAND\n${lines.join('\n')}`;
}

const isHelp = (word: string | undefined) => word === '--help' || word === '-h';

const [name, ...args] = process.argv.slice(2);
const command = name === undefined ? undefined : COMMANDS[name];
if (isHelp(name) || (command !== undefined && isHelp(args[0]))) console.log(usage());
else if (command === undefined) {
  console.error(usage());
  process.exitCode = 2;
} else {
  try {
    const extra = args[command.takes];
    if (extra !== undefined)
      throw new OperatorError('USAGE', `expected: ${command.help[0]}, found "${extra}"`);
    process.exitCode = await command.run(args);
  } catch (error) {
    console.error(`lab: ${messageOf(error)}`);
    process.exitCode = error instanceof OperatorError && error.code === 'USAGE' ? 2 : 1;
  }
}

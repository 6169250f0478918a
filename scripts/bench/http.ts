import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import Table from 'cli-table3';
import { OperatorError } from '../../common/errors.ts';
import { interruptible } from '../lab/interrupt.ts';
import { hasTool, TOOL_PATH } from '../lab/missing.ts';
import { until } from '../lab/wait.ts';
import { processTree, residentBytes, usageOf } from './process.ts';
import { type Contender, ORIGIN, PROXIES } from './proxies.ts';
import { median } from './statistics.ts';

const HELP = `usage: npm run bench -- http [--rounds 3] [--seconds 3] [--connections 50] [--idle 2000] [--json]

CPU microseconds per request of each proxy, one worker pinned to core 1, load and origin on core 0, kept-alive
clients; rounds are interleaved (A B A B). Then resident memory per idle client connection.`;

/** Core of the proxy, and core of all else. */
const PROXY_CORE = '1';
const LOAD_CORE = '0';

interface Round {
  readonly userUs: number;
  readonly systemUs: number;
  readonly requestsPerSecond: number;
  readonly errors: number;
}

interface Running {
  readonly proxy: Contender;
  readonly process: ChildProcess;
}

const execute = promisify(execFile);
const env = { ...process.env, PATH: TOOL_PATH };

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      connections: { type: 'string', default: '50' },
      idle: { type: 'string', default: '2000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  for (const tool of ['wrk', 'taskset', 'nginx'])
    if (!hasTool(tool)) throw new OperatorError('MISSING', `${tool} is missing`);
  const proxies = PROXIES.filter((proxy) => proxy.tool.includes('/') || hasTool(proxy.tool));
  for (const proxy of PROXIES.filter((one) => !proxies.includes(one)))
    console.error(`${proxy.tool} is missing: measured without it`);
  const directory = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  const started: ChildProcess[] = [];
  try {
    await interruptible(measure(directory, started, proxies, values));
  } finally {
    await Promise.all(started.map(stop));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  directory: string,
  started: ChildProcess[],
  proxies: readonly Contender[],
  options: { rounds: string; seconds: string; connections: string; idle: string; json: boolean },
): Promise<void> {
  const begin = async (proxy: Contender, core: string): Promise<Running> => {
    const own = join(directory, proxy.name);
    mkdirSync(own);
    const file = join(own, 'config');
    writeFileSync(file, proxy.config(own));
    const argv = ['-c', core, ...proxy.argv(file, own)];
    const child = spawn('taskset', argv, { stdio: ['ignore', 'ignore', 'inherit'], env });
    started.push(child);
    await until(`${proxy.name} listens`, () => answers(proxy.port), 10_000);
    return { proxy, process: child };
  };
  await begin(ORIGIN, LOAD_CORE);
  const running: Running[] = [];
  for (const proxy of proxies) running.push(await begin(proxy, PROXY_CORE));
  // What is just-in-time compiled must have been, before it is compared.
  for (const one of running) await round(one, 2, options.connections);

  const rounds = new Map<string, Round[]>(running.map(({ proxy }) => [proxy.name, []]));
  for (let i = 0; i < Number(options.rounds); i++)
    for (const one of running)
      rounds.get(one.proxy.name)!.push(await round(one, Number(options.seconds), options.connections));
  const idle = new Map<string, number>();
  for (const one of running) idle.set(one.proxy.name, await idleBytes(one, Number(options.idle)));

  const rows = running.map(({ proxy }) => {
    const own = rounds.get(proxy.name)!;
    return {
      proxy: proxy.name,
      user_us: median(own.map((r) => r.userUs)),
      system_us: median(own.map((r) => r.systemUs)),
      total_us: median(own.map((r) => r.userUs + r.systemUs)),
      requests_per_s: median(own.map((r) => r.requestsPerSecond)),
      errors: own.reduce((sum, r) => sum + r.errors, 0),
      idle_bytes: idle.get(proxy.name)!,
    };
  });
  const reference = rows.find(({ proxy }) => proxy === 'haproxy')?.total_us;
  if (options.json) return console.log(JSON.stringify(rows));
  const table = new Table({
    head: ['proxy', 'user µs', 'system µs', 'total µs', '× HAProxy', 'requests/s', 'errors', 'KiB per idle'],
    style: { head: [], border: [] },
  });
  for (const row of rows)
    table.push([
      row.proxy,
      row.user_us.toFixed(1),
      row.system_us.toFixed(1),
      row.total_us.toFixed(1),
      reference === undefined ? '–' : (row.total_us / reference).toFixed(2),
      row.requests_per_s.toFixed(0),
      row.errors,
      (row.idle_bytes / 1024).toFixed(1),
    ]);
  console.log(
    `CPU per request, median of ${options.rounds} rounds, ${options.connections} clients\n${table}`,
  );
}

/** One run of load. CPU time is read from the kernel, in steps of 10 ms: seconds of load make that small. */
async function round(running: Running, seconds: number, connections: string): Promise<Round> {
  const pids = processTree(running.process.pid!);
  const before = usageOf(pids);
  const url = `http://127.0.0.1:${running.proxy.port}/`;
  const argv = ['-c', LOAD_CORE, 'wrk', '-t', '1', '-c', connections, '-d', `${seconds}s`, url];
  const { stdout } = await execute('taskset', argv, { env });
  const after = usageOf(pids);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (requests === 0) throw new Error(`wrk got no answer from ${running.proxy.name}: ${stdout.trim()}`);
  const bad = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout);
  const errors = (socket?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), bad);
  return {
    userUs: (after.userUs - before.userUs) / requests,
    systemUs: (after.systemUs - before.systemUs) / requests,
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0),
    errors,
  };
}

/** Resident memory that each of `count` connections adds, each after one request and answer. */
async function idleBytes(running: Running, count: number): Promise<number> {
  const pids = processTree(running.process.pid!);
  const before = residentBytes(pids);
  const sockets: Socket[] = [];
  try {
    for (let i = 0; i < count; i++) sockets.push(await askedOnce(running.proxy.port));
    return (residentBytes(pids) - before) / count;
  } finally {
    await Promise.all(sockets.map((socket) => once(socket.destroy(), 'close')));
  }
}

async function askedOnce(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\nHost: bench\r\n\r\n');
  await once(socket, 'data');
  socket.on('error', () => socket.destroy());
  return socket;
}

async function answers(port: number): Promise<true> {
  (await askedOnce(port)).destroy();
  return true;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  // nginx and haproxy end at once on SIGTERM; a second one tells lbd not to wait for its connections.
  child.kill('SIGTERM');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
  await gone;
  clearTimeout(timer);
}

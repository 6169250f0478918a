import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { parseArgs, promisify } from 'node:util';
import Table from 'cli-table3';
import { OperatorError } from '../../common/errors.ts';
import { interruptible } from '../lab/interrupt.ts';
import { NODE, ROOT } from '../lab/lab.ts';
import { hasTool, TOOL_PATH } from '../lab/missing.ts';
import { until } from '../lab/wait.ts';
import { processTree, residentBytes, usageOf } from './process.ts';
import {
  type Contender,
  ORIGIN_PORT as HTTP_ORIGIN_PORT,
  nginxMain,
  nginxTemporary,
  ORIGIN,
} from './proxies.ts';
import { median } from './statistics.ts';

const HELP = `usage: npm run bench -- tls [--rounds 3] [--seconds 3] [--connections 50] [--idle 500] [--json]

CPU microseconds of each proxy with TLS on the client's side (ECDSA P-256), one worker pinned to core 1, load and
origin on core 0: per request of kept-alive clients (wrk, TLS 1.3), per connection with a full handshake (wrk, a new
connection per request, TLS 1.3) and with a resumed session (openssl s_time, TLS 1.2). Rounds are interleaved. Then
resident memory per idle client connection.`;

const PROXY_CORE = '1';
const LOAD_CORE = '0';
const CERTIFICATE = 'bench.pem';
/** Not that of the other benchmark, which may run at the same time. */
const ORIGIN_PORT = 18180;
const TLS_ORIGIN: Contender = {
  ...ORIGIN,
  port: ORIGIN_PORT,
  config: (directory) => ORIGIN.config(directory).replaceAll(`:${HTTP_ORIGIN_PORT}`, `:${ORIGIN_PORT}`),
};

/** What a proxy has to do for one unit of work. */
const LOADS = {
  'kept alive': (port: number, seconds: number, connections: string) => [
    ...['wrk', '-t', '1', '-c', connections, '-d', `${seconds}s`, `https://127.0.0.1:${port}/`],
  ],
  'full handshake': (port: number, seconds: number, connections: string) => [
    ...['wrk', '-t', '1', '-c', connections, '-d', `${seconds}s`, '-H', 'Connection: close'],
    `https://127.0.0.1:${port}/`,
  ],
  resumed: (port: number, seconds: number) => [
    ...['openssl', 's_time', '-connect', `127.0.0.1:${port}`, '-reuse', '-tls1_2', '-www', '/'],
    ...['-time', String(seconds)],
  ],
} as const;
type Load = keyof typeof LOADS;
const LOAD_NAMES = Object.keys(LOADS) as Load[];

const PROXIES: readonly Contender[] = [
  {
    name: 'lbd',
    tool: NODE,
    port: 18181,
    config: (directory) => `workers: 1
sessions: { capacity: 1024 }
frontends:
  web:
    bind: ["127.0.0.1:18181"]
    mode: http
    pool: web
    tls: { certificates: [{ cert: ${join(directory, CERTIFICATE)}, key: ${join(directory, CERTIFICATE)} }] }
pools:
  web:
    algorithm: round-robin
    health: { type: none }
    backends: { origin: { address: "127.0.0.1:${ORIGIN_PORT}" } }
admin: { metrics: false }
`,
    argv: (file, directory) => [NODE, join(ROOT, 'lbd/main.ts'), '--config', file, '--run-dir', directory],
  },
  {
    name: 'haproxy',
    tool: 'haproxy',
    port: 18182,
    config: (directory) => `global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend web
  bind 127.0.0.1:18182 ssl crt ${join(directory, CERTIFICATE)} alpn http/1.1
  default_backend web
backend web
  balance roundrobin
  server origin 127.0.0.1:${ORIGIN_PORT}
`,
    argv: (file) => ['haproxy', '-db', '-q', '-f', file],
  },
  {
    name: 'nginx',
    tool: 'nginx',
    port: 18183,
    config: (directory) => `${nginxMain(directory)}
http {
  access_log off;
  keepalive_requests 10000000;
  ${nginxTemporary(directory)}
  upstream web { server 127.0.0.1:${ORIGIN_PORT}; keepalive 100; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:18183 ssl backlog=4096;
    ssl_certificate ${join(directory, CERTIFICATE)};
    ssl_certificate_key ${join(directory, CERTIFICATE)};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://web;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
    }
  }
}
`,
    argv: (file, directory) => ['nginx', '-e', 'stderr', '-p', directory, '-c', file],
  },
];

interface Round {
  readonly userUs: number;
  readonly systemUs: number;
  readonly perSecond: number;
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
      idle: { type: 'string', default: '500' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  for (const tool of ['wrk', 'taskset', 'nginx', 'openssl'])
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
  const certificate = makeCertificate(directory);
  const begin = async (proxy: Contender, core: string): Promise<Running> => {
    const own = join(directory, proxy.name);
    mkdirSync(own);
    writeFileSync(join(own, CERTIFICATE), certificate, { mode: 0o600 });
    const file = join(own, 'config');
    writeFileSync(file, proxy.config(own));
    const child = spawn('taskset', ['-c', core, ...proxy.argv(file, own)], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    });
    started.push(child);
    return { proxy, process: child };
  };
  await begin(TLS_ORIGIN, LOAD_CORE);
  const running: Running[] = [];
  for (const proxy of proxies) {
    const one = await begin(proxy, PROXY_CORE);
    running.push(one);
    await until(`${proxy.name} listens`, async () => (await askedOnce(proxy.port)).destroy(), 10_000);
    // Else what answers is somebody else's, such as another run of this benchmark.
    if (one.process.exitCode !== null) throw new Error(`${proxy.name} ended: is its port taken?`);
  }
  // What is just-in-time compiled must have been, before it is compared.
  for (const one of running) for (const load of LOAD_NAMES) await round(one, load, 2, options.connections);

  const rounds = new Map<string, Round[]>();
  for (let i = 0; i < Number(options.rounds); i++)
    for (const load of LOAD_NAMES)
      for (const one of running) {
        const key = `${one.proxy.name} ${load}`;
        const result = await round(one, load, Number(options.seconds), options.connections);
        rounds.set(key, [...(rounds.get(key) ?? []), result]);
      }
  const idle = new Map<string, number>();
  for (const one of running) idle.set(one.proxy.name, await idleBytes(one, Number(options.idle)));

  const rows = LOAD_NAMES.flatMap((load) =>
    running.map(({ proxy }) => {
      const own = rounds.get(`${proxy.name} ${load}`)!;
      return {
        load,
        proxy: proxy.name,
        user_us: median(own.map((r) => r.userUs)),
        system_us: median(own.map((r) => r.systemUs)),
        total_us: median(own.map((r) => r.userUs + r.systemUs)),
        per_s: median(own.map((r) => r.perSecond)),
        idle_bytes: idle.get(proxy.name)!,
      };
    }),
  );
  if (options.json) return console.log(JSON.stringify(rows));
  const table = new Table({
    head: ['load', 'proxy', 'user µs', 'system µs', 'total µs', '× HAProxy', 'per second', 'KiB per idle'],
    style: { head: [], border: [] },
  });
  for (const row of rows) {
    const reference = rows.find(({ load, proxy }) => load === row.load && proxy === 'haproxy')?.total_us;
    table.push([
      row.load,
      row.proxy,
      row.user_us.toFixed(1),
      row.system_us.toFixed(1),
      row.total_us.toFixed(1),
      reference === undefined ? '–' : (row.total_us / reference).toFixed(2),
      row.per_s.toFixed(0),
      (row.idle_bytes / 1024).toFixed(1),
    ]);
  }
  console.log(
    `TLS, CPU per unit of work, median of ${options.rounds} rounds, ${options.connections} clients\n${table}`,
  );
}

/** Certificate and key in one text, as HAProxy wants them. */
function makeCertificate(directory: string): string {
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', '/CN=bench', '-addext', 'subjectAltName=DNS:bench,IP:127.0.0.1', '-days', '30'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...names, '-keyout', key, '-out', cert], {
    env,
    stdio: 'ignore',
  });
  return readFileSync(cert, 'utf8') + readFileSync(key, 'utf8');
}

/** One run of load. CPU time is read from the kernel, in steps of 10 ms: seconds of load make that small. */
async function round(running: Running, load: Load, seconds: number, connections: string): Promise<Round> {
  const { proxy } = running;
  const pids = processTree(running.process.pid!);
  const before = usageOf(pids);
  const argv = ['-c', LOAD_CORE, ...LOADS[load](proxy.port, seconds, connections)];
  const { stdout } = await execute('taskset', argv, { env });
  const after = usageOf(pids);
  const units = Number(/(\d+) (?:requests in|connections in \d+ real)/.exec(stdout)?.[1] ?? 0);
  if (units === 0) throw new Error(`no answer from ${proxy.name} (${load}): ${stdout.trim()}`);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1];
  if (bad !== undefined) throw new Error(`${proxy.name} (${load}): ${bad} answers are errors`);
  return {
    userUs: (after.userUs - before.userUs) / units,
    systemUs: (after.systemUs - before.systemUs) / units,
    perSecond: units / seconds,
  };
}

/** Resident memory that each of `count` connections adds, each after one request and answer. */
async function idleBytes(running: Running, count: number): Promise<number> {
  const pids = processTree(running.process.pid!);
  const before = residentBytes(pids);
  const sockets: TLSSocket[] = [];
  try {
    for (let i = 0; i < count; i++) sockets.push(await askedOnce(running.proxy.port));
    return (residentBytes(pids) - before) / count;
  } finally {
    await Promise.all(sockets.map((socket) => once(socket.destroy(), 'close')));
  }
}

async function askedOnce(port: number): Promise<TLSSocket> {
  // The certificate is one of the bench's own, and this client only asks whether somebody answers.
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  socket.write('GET / HTTP/1.1\r\nHost: bench\r\n\r\n');
  await once(socket, 'data');
  socket.on('error', () => socket.destroy());
  return socket;
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

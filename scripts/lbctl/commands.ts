import { isIP } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  type AdminState,
  type BackendAnswer,
  type ControlEvent,
  type Explanation,
  type LbdStatus,
  type SessionRow,
  SOCKETS,
} from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { count } from '../../common/count.ts';
import { formatAge, parseDuration } from '../../common/duration.ts';
import { ConfigError, OperatorError } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { printable, printableAll } from '../../common/printable.ts';
import { noSuch } from '../../common/suggest.ts';
import { checkHost, NOT_LOOKED } from './check-host.ts';
import { deriveKeys } from './derive-keys.ts';
import { askEvents, eventLine, NewEvents, sinceMs } from './events.ts';
import { explainRequest, explanationText } from './explain.ts';
import { paint, table } from './format.ts';
import { reloadNode, reloadText } from './reload.ts';
import {
  askNode,
  backendTable,
  isAlone,
  isDenied,
  type NodeView,
  nobodyAnswers,
  statusJson,
  statusText,
} from './status.ts';
import { isDown, troublesOf } from './trouble.ts';
import { awaitReadiness, readinessText } from './upgrade-ready.ts';

/** What the user typed that is no value for its argument or option: exit code 2. */
export class UsageError extends Error {}

/** What a command has to say: for people and for programs. */
export interface Output {
  readonly text: string;
  readonly json: unknown;
  /** It was asked a question, and the answer is no: exit code 1. */
  readonly no?: boolean;
  /** It was asked whether all is well, and something is down: exit code 3. */
  readonly down?: boolean;
}

export interface Invocation {
  readonly runDir: string;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string | undefined>>;
  /** For programs: no colours and nothing that clears a screen. */
  readonly json: boolean;
}

/** A command as data: `scripts/lbctl.ts` makes dispatch and help from it. */
export interface Command {
  readonly name: string;
  /** As in the usage line: `<required>` or `[optional]`. */
  readonly args: readonly (readonly [name: string, help: string])[];
  readonly summary: string;
  readonly options?: readonly (readonly [flags: string, help: string])[];
  /** Options that may be given more than once; their values come in one text, a line each. */
  readonly repeated?: readonly (readonly [flags: string, help: string])[];
  /** @throws OperatorError, ConfigError or UsageError */
  run(invocation: Invocation): Promise<Output>;
  /** Goes on until it is interrupted, where its options ask for that; else undefined. */
  stream?(invocation: Invocation): AsyncIterable<Output> | undefined;
}

/** A switchover waits for the other node, which may first have to finish a sync. */
const SWITCHOVER_TIMEOUT_MS = 10_000;
/** Clearing or listing a full table takes lbd a moment. */
const SESSIONS_TIMEOUT_MS = 10_000;

const BACKEND_ARG = ['<POOL/BACKEND>', 'as in the first column of "lbctl backends"'] as const;

const WATCH = ['--watch [DURATION]', 'again and again, every 2s or every so often'] as const;
const WATCH_MS = 2000;
const FOLLOW_MS = 1000;

export const COMMANDS: readonly Command[] = [
  {
    name: 'check',
    args: [['<FILE>', 'config file']],
    summary: 'check a config file, and whether this host has what it needs; print every problem',
    options: [
      ['--for <NODE>', 'check it as this node (default: the host name, else the first node)'],
      ['--node <NODE>', 'the same, as the daemons call it'],
    ],
    run: async ({ runDir, args: [file], options: { for: node, node: sameNode } }) => {
      const { loadSound } = await configModule();
      const { problems: wrong, sound } = loadSound(file!, { node: node ?? sameNode, anyNode: true });
      if (sound === undefined) throw new ConfigError(wrong);
      const { config, where } = sound;
      const { adviceOf } = await import('../../common/config-advice.ts');
      const { problemsOf } = await import('../../lbd/tls/tls-control.ts');
      const chosen = (node ?? sameNode) !== undefined;
      const host = await checkHost({ ...sound, runDir, chosen });
      const problems = [
        ...wrong,
        ...host.problems,
        ...problemsOf(config).map((message) => ({ where: file!, key: '', message })),
      ];
      const advice = adviceOf(config).map(
        ({ path, message }) => `${where(path)}: warning: ${path.join('.')}: ${message}`,
      );
      const warnings = [...advice, ...host.warnings];
      if (problems.length > 0) throw new ConfigError(problems, warnings);
      const not = host.looked || config.cluster === undefined ? host.denied : [NOT_LOOKED];
      return {
        text: [`${file}: good: ${summaryOf(config)}`, ...warnings, ...not].map(printable).join('\n'),
        json: {
          ...{ ok: true, digest: config.digest, host: host.looked, not_looked: not },
          ...{ warnings, problems: [] },
        },
      };
    },
  },
  {
    name: 'derive-keys',
    args: [['[FILE]', 'config file (default: /etc/tandem/tandem.yaml)']],
    summary: 'as root: derive the keys of the daemons, which do not read the secret, anew',
    run: async ({ args: [file = '/etc/tandem/tandem.yaml'] }) => {
      const { loadConfig } = await configModule();
      return deriveKeys(loadConfig(file, { anyNode: true }));
    },
  },
  {
    name: 'schema',
    args: [],
    summary: 'print the JSON Schema of the config file, for editors',
    run: async () => {
      const { jsonSchema } = await import('../../common/json-schema.ts');
      const schema = jsonSchema();
      return { text: JSON.stringify(schema, null, 2), json: schema };
    },
  },
  {
    name: 'status',
    args: [],
    summary: 'role, VIPs, peer, paths, sync, pools and backends, with the reason of each state',
    options: [['--check', 'for monitoring: only what is down, and exit code 3 where anything is'], WATCH],
    run: ({ runDir, options: { check } }) => (check ? checkNode(runDir) : showNode(runDir)),
    stream: (invocation) => {
      const { check, watch } = invocation.options;
      if (check && watch !== undefined)
        throw new UsageError('--check looks once and --watch again and again: expected one of them');
      return watched(invocation, () => showNode(invocation.runDir));
    },
  },
  {
    name: 'backends',
    args: [['[FILTER]', 'only those of this pool, or this POOL/BACKEND']],
    summary: 'the backends of all pools',
    options: [['--down', 'only those that are down or ejected'], WATCH],
    run: showBackends,
    stream: (invocation) => watched(invocation, () => showBackends(invocation)),
  },
  adminCommand('drain', 'no new clients; those that it has finish'),
  adminCommand('ready', 'take clients again'),
  adminCommand('maint', 'no clients at all, not even stuck ones; what is open finishes'),
  {
    name: 'weight',
    args: [
      BACKEND_ARG,
      ['<N>', '0 to 256, 0: no new clients except stuck ones; or "config": that of the config again'],
    ],
    summary: 'change the weight of a backend',
    run: async ({ runDir, args: [backend, weight] }) =>
      setBackend(runDir, backend!, { weight: weight === 'config' ? null : wholeNumber(weight!, 0, 256) }),
  },
  {
    name: 'sessions',
    args: [['[list|clear]', 'default: list']],
    summary: 'list or clear the session table',
    options: [['--limit <N>', 'list at most so many (default: 100)']],
    run: async ({ runDir, args: [action = 'list'], options: { limit = '100' } }) => {
      const socket = join(runDir, SOCKETS.lbd);
      if (action === 'list') return listSessions(socket, wholeNumber(limit, 1, 1_000_000));
      if (action !== 'clear') throw new UsageError(`found "${action}", expected list or clear`);
      const answer = await control<{ cleared: number }>(
        socket,
        'DELETE',
        '/v1/sessions',
        undefined,
        SESSIONS_TIMEOUT_MS,
      );
      return { text: `${count(answer.cleared, 'session')} cleared`, json: answer };
    },
  },
  {
    name: 'switchover',
    args: [],
    summary: 'hand the VIPs to the other node, in order and without a gap',
    options: [
      ['--to <NODE>', 'the node that shall be active (default: the one that is not)'],
      ['--group <GROUP>', 'the VIP group, or all (default: the only one)'],
    ],
    run: async ({ runDir, options: { to, group } }) => {
      const socket = join(runDir, SOCKETS.agent);
      const body = { to, group };
      const answer = await control<{ text: string }>(
        socket,
        'POST',
        '/v1/switchover',
        body,
        SWITCHOVER_TIMEOUT_MS,
      );
      return { text: printable(answer.text), json: answer };
    },
  },
  {
    name: 'reload',
    args: [],
    summary: 'read the config file again on this node, and wait until it is in force or refused',
    options: [
      ['--lbd', 'only lbd'],
      ['--agent', 'only ha-agent'],
    ],
    run: async ({ runDir, options: { lbd, agent } }) => {
      const reload = await reloadNode(runDir, { lbd: !agent || !!lbd, agent: !lbd || !!agent });
      return { text: reloadText(reload), json: reload, no: !reload.ok };
    },
  },
  {
    name: 'upgrade-ready',
    args: [],
    summary: 'whether this node may be restarted now without a loss for any client, and what to do next',
    options: [['--wait <DURATION>', 'until it may, for so long at most, such as 30s (default: do not wait)']],
    run: async ({ runDir, options: { wait = '0s' } }) => {
      const readiness = await awaitReadiness(runDir, duration(wait));
      return { text: readinessText(readiness), json: readiness, no: !readiness.ready };
    },
  },
  {
    name: 'explain',
    args: [
      ['<METHOD>', 'such as GET'],
      ['<URL>', 'http://HOST[:PORT]/PATH, or a path with --header Host:…'],
    ],
    summary:
      'what would become of a request: routes tried, backends excluded and why, the pick; changes nothing',
    options: [
      ['--source <IP>', 'address of the client'],
      ['--frontend <NAME>', 'default: the one on the port of the URL'],
    ],
    repeated: [['--header <NAME:VALUE>', 'a field of the request; may be given more than once']],
    run: async ({ runDir, args: [method, url], options: { header, source, frontend } }) => {
      const request = explainRequest(method!, url!, header?.split('\n') ?? []);
      if (request === undefined)
        throw new UsageError('expected a URL or a path, and each --header as NAME:VALUE');
      if (source !== undefined && isIP(source) === 0)
        throw new UsageError(`found "${source}", expected an IP address`);
      const body = { ...request, source, frontend };
      const answer = await control<Explanation>(join(runDir, SOCKETS.lbd), 'POST', '/v1/explain', body);
      return { text: explanationText(answer), json: answer };
    },
  },
  {
    name: 'events',
    args: [],
    summary: 'the last transitions of both daemons with their causes, oldest first',
    options: [
      ['--limit <N>', 'only the newest so many'],
      ['--since <WHEN>', 'only those since then: how long ago, such as 10m, or a time of ISO 8601'],
      ['--follow', 'go on with those that come, until it is interrupted'],
      ['--local', 'times of the zone of this machine, not UTC'],
    ],
    run: showEvents,
    stream: (invocation) => (invocation.options.follow ? followEvents(invocation) : undefined),
  },
];

/** The schema takes as long to load as all else together, and most commands do without. */
function configModule() {
  return import('../../common/config.ts');
}

function adminCommand(admin: AdminState, effect: string): Command {
  return {
    name: admin,
    args: [BACKEND_ARG],
    summary: `set a backend to ${admin}: ${effect}`,
    run: ({ runDir, args: [backend] }) => setBackend(runDir, backend!, { admin }),
  };
}

async function setBackend(
  runDir: string,
  name: string,
  change: { admin?: AdminState; weight?: number | null },
): Promise<Output> {
  const [pool, backend, rest] = name.split('/');
  if (!pool || !backend || rest !== undefined)
    throw new UsageError(`found "${name}", expected POOL/BACKEND, such as web/s1`);
  const path = `/v1/backends/${encodeURIComponent(pool)}/${encodeURIComponent(backend)}`;
  const status = await control<BackendAnswer>(join(runDir, SOCKETS.lbd), 'POST', path, change);
  const { state, weight, active, why, note } = printableAll(status);
  const facts = [state, `weight ${weight}`, `${active} active`, why];
  const lines = [
    `${name}: ${facts.filter((fact) => fact !== '').join(', ')}`,
    ...(note === undefined ? [] : [paint('yellow', `! ${note}`)]),
  ];
  return { text: lines.join('\n'), json: status };
}

async function listSessions(socket: string, limit: number): Promise<Output> {
  const path = `/v1/sessions?limit=${limit}`;
  const answer = await control<{ entries: number; rows: SessionRow[] }>(
    socket,
    'GET',
    path,
    undefined,
    SESSIONS_TIMEOUT_MS,
  );
  const rows = printableAll(answer.rows).map((row) => [
    row.pool,
    row.kind,
    row.key,
    row.backend,
    formatAge(row.expires_in_ms),
  ]);
  const lines = [
    ...(rows.length === 0 ? [] : [table(['POOL', 'KIND', 'KEY', 'BACKEND', 'EXPIRES IN'], rows)]),
    `${rows.length} of ${count(answer.entries, 'session')} shown`,
  ];
  return { text: lines.join('\n'), json: answer };
}

async function showNode(runDir: string): Promise<Output> {
  const view = await askNode(runDir);
  return { text: statusText(view), json: statusJson(view) };
}

/** A node whose daemons do not answer is down, too; of one that may not be asked nothing is known. */
async function checkNode(runDir: string): Promise<Output> {
  const troubles = await askNode(runDir).then(troublesOrDenial, (error: unknown) => {
    if (error instanceof OperatorError && error.code === 'NOT_RUNNING') return [error.message];
    throw error;
  });
  const down = troubles.length > 0;
  const text = down ? printableAll(troubles).join('\n') : 'nothing is down';
  return { text, json: { ok: !down, down: troubles }, down };
}

function troublesOrDenial(view: NodeView): string[] {
  const asked = isAlone(view.lbd.status) ? [view.lbd] : [view.lbd, view.agent];
  const denied = asked.flatMap((answer) => (answer.error !== null && isDenied(answer) ? [answer] : []));
  if (denied.length > 0) throw nobodyAnswers(denied);
  return troublesOf(view);
}

async function showBackends({ runDir, args: [filter], options: { down } }: Invocation): Promise<Output> {
  const [wanted, backend, rest] = filter?.split('/') ?? [];
  if (wanted === '' || backend === '' || rest !== undefined)
    throw new UsageError(`found "${filter}", expected POOL or POOL/BACKEND, such as web/s1`);
  const { pools } = await control<LbdStatus>(join(runDir, SOCKETS.lbd), 'GET', '/v1/status');
  if (wanted !== undefined && !Object.hasOwn(pools, wanted))
    throw new OperatorError('REFUSED', noSuch('pool', wanted, Object.keys(pools)));
  const names = wanted === undefined ? [] : Object.keys(pools[wanted]!.backends);
  if (backend !== undefined && !names.includes(backend)) {
    const ids = names.map((name) => `${wanted}/${name}`);
    throw new OperatorError('REFUSED', noSuch('backend', filter!, ids));
  }
  const shown = Object.entries(pools)
    .filter(([pool]) => wanted === undefined || pool === wanted)
    .map(([pool, status]) => {
      const kept = Object.entries(status.backends).filter(
        ([name, it]) => (backend === undefined || name === backend) && (!down || isDown(it)),
      );
      return [pool, { ...status, backends: Object.fromEntries(kept) }] as const;
    });
  const answer: LbdStatus['pools'] = Object.fromEntries(shown);
  return { text: backendTable(answer), json: answer };
}

async function showEvents({ runDir, options }: Invocation): Promise<Output> {
  const { events, failures } = await askEvents(runDir);
  const shown = chosenEvents(events, options);
  const lines = [...shown.map((event) => eventLine(event, !!options.local)), ...failureLines(failures)];
  return { text: lines.join('\n'), json: shown };
}

/** Those that `--since` and `--limit` leave. */
function chosenEvents(
  events: readonly ControlEvent[],
  { limit, since }: Invocation['options'],
): readonly ControlEvent[] {
  const start = since === undefined ? Number.NEGATIVE_INFINITY : sinceMs(since, Date.now());
  if (start === undefined)
    throw new UsageError(`found "${since}", expected how long ago, such as 10m, or a time of ISO 8601`);
  const recent = events.filter(({ time }) => Date.parse(time) >= start);
  return limit === undefined ? recent : recent.slice(-wholeNumber(limit, 1, 1_000_000));
}

function failureLines(failures: readonly string[]): string[] {
  return printableAll(failures).map((line) => paint('yellow', `! ${line}`));
}

/** An event at a time. A daemon that restarts is missed for a moment, and no reason to end. */
async function* followEvents({ runDir, options, json }: Invocation): AsyncIterable<Output> {
  const fresh = new NewEvents();
  const show = (event: ControlEvent) => ({ text: eventLine(event, !!options.local), json: event });
  const { events, failures } = await askEvents(runDir);
  yield* chosenEvents(fresh.of(events), options).map(show);
  // For people: programs get events and nothing else.
  if (!json) yield* failureLines(failures).map((text) => ({ text, json: undefined }));
  for (;;) {
    await setTimeout(FOLLOW_MS);
    const { events } = await askEvents(runDir).catch(() => ({ events: [] }));
    yield* fresh.of(events).map(show);
  }
}

/** @returns undefined where `--watch` is not given */
function watched(
  { options: { watch }, json }: Invocation,
  show: () => Promise<Output>,
): AsyncIterable<Output> | undefined {
  if (watch === undefined) return undefined;
  const everyMs = typeof watch === 'string' ? Math.max(duration(watch), 100) : WATCH_MS;
  return again(show, everyMs, !json && process.stdout.isTTY);
}

async function* again(show: () => Promise<Output>, everyMs: number, clears: boolean): AsyncIterable<Output> {
  for (;;) {
    const output = await show().catch((error: unknown) => {
      if (!(error instanceof OperatorError)) throw error;
      return {
        text: paint('yellow', `! ${printable(error.message)}`),
        json: { ok: false, error: error.message },
      };
    });
    yield clears ? { ...output, text: `\x1b[H\x1b[2J${output.text}` } : output;
    await setTimeout(everyMs);
  }
}

function wholeNumber(text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
  if (value < min || value > max)
    throw new UsageError(`found "${text}", expected a whole number from ${min} to ${max}`);
  return value;
}

function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new UsageError(`found "${text}", expected a duration such as 30s or 5m`);
  return ms;
}

function summaryOf(config: Config): string {
  const { cluster } = config;
  const backends = config.pools.reduce((sum, pool) => sum + pool.backends.length, 0);
  return [
    cluster === undefined ? 'a single lbd' : `pair "${cluster.name}", checked as ${cluster.self.name}`,
    count(config.frontends.length, 'frontend'),
    count(config.pools.length, 'pool'),
    count(backends, 'backend'),
    `digest ${config.digest.slice(0, 12)}`,
  ].join(', ');
}

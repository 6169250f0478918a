import { isIP } from 'node:net';
import { join } from 'node:path';
import { secretProblems } from '../../common/cluster-keys.ts';
import {
  type AdminState,
  type BackendStatus,
  type ControlEvent,
  type Explanation,
  type LbdStatus,
  type SessionRow,
  SOCKETS,
} from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { formatAge, parseDuration } from '../../common/duration.ts';
import { ConfigError, type ConfigProblem, messageOf, OperatorError } from '../../common/errors.ts';
import type { PlacedNeed } from '../../common/host-needs.ts';
import type { Config } from '../../common/model.ts';
import { printable, printableAll } from '../../common/printable.ts';
import { settlePrograms } from '../../common/programs.ts';
import type { Source } from '../../common/source.ts';
import { deriveKeys } from './derive-keys.ts';
import { explainRequest, explanationText } from './explain.ts';
import { count, paint, table } from './format.ts';
import { isAlone, reloadNode, reloadText } from './reload.ts';
import { askNode, backendTable, statusJson, statusText } from './status.ts';
import { awaitReadiness, readinessText } from './upgrade-ready.ts';

/** What the user typed that is no value for its argument or option: exit code 2. */
export class UsageError extends Error {}

/** What a command has to say: for people and for programs. */
export interface Output {
  readonly text: string;
  readonly json: unknown;
  /** It was asked a question, and the answer is no: exit code 1. */
  readonly no?: boolean;
}

export interface Invocation {
  readonly runDir: string;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string | undefined>>;
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
}

const NOT_LOOKED =
  'Its interfaces, programs and secret were not looked for: this machine does not have the address of that node.';
/** A switchover waits for the other node, which may first have to finish a sync. */
const SWITCHOVER_TIMEOUT_MS = 10_000;
/** Clearing or listing a full table takes lbd a moment. */
const SESSIONS_TIMEOUT_MS = 10_000;

const BACKEND_ARG = ['<POOL/BACKEND>', 'as in the first column of "lbctl backends"'] as const;

export const COMMANDS: readonly Command[] = [
  {
    name: 'check',
    args: [['<FILE>', 'config file']],
    summary: 'check a config file, and whether this host has what it needs; print every problem',
    options: [
      ['--for <NODE>', 'check it as this node (default: the host name, else the first node)'],
      ['--node <NODE>', 'the same, as the daemons call it'],
    ],
    run: async ({ args: [file], options: { for: node, node: sameNode } }) => {
      const { loadWithNeeds } = await configModule();
      const { config, needs, where } = loadWithNeeds(file!, { node: node ?? sameNode, anyNode: true });
      const { problemsOf } = await import('../../lbd/tls/tls-control.ts');
      const host = await checkHost(config, needs, where);
      const problems = [
        ...host.problems,
        ...problemsOf(config).map((message) => ({ where: file!, key: '', message })),
      ];
      if (problems.length > 0) throw new ConfigError(problems);
      const not = host.looked || config.cluster === undefined ? host.denied : [NOT_LOOKED];
      return {
        text: [`${file}: good: ${summaryOf(config)}`, ...host.warnings, ...not].map(printable).join('\n'),
        json: {
          ...{ ok: true, digest: config.digest, host: host.looked, not_looked: not },
          ...{ warnings: host.warnings, problems: [] },
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
    run: async ({ runDir }) => {
      const view = await askNode(runDir);
      return { text: statusText(view), json: statusJson(view) };
    },
  },
  {
    name: 'backends',
    args: [],
    summary: 'the backends of all pools',
    run: async ({ runDir }) => {
      const status = await control<LbdStatus>(join(runDir, SOCKETS.lbd), 'GET', '/v1/status');
      return { text: backendTable(status.pools), json: status.pools };
    },
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
    options: [['--limit <N>', 'only the newest so many']],
    run: async ({ runDir, options: { limit } }) => {
      const { events, failures } = await askEvents(runDir);
      const shown = limit === undefined ? events : events.slice(-wholeNumber(limit, 1, 1_000_000));
      const lines = [
        ...shown.map(eventLine),
        ...printableAll(failures).map((line) => paint('yellow', `! ${line}`)),
      ];
      return { text: lines.join('\n'), json: shown };
    },
  },
];

/** What the host must have can be looked for where this machine is the node that the file is checked for. */
async function checkHost(
  { cluster }: Config,
  needs: readonly PlacedNeed[],
  where: Source['where'],
): Promise<{
  looked: boolean;
  problems: ConfigProblem[];
  warnings: readonly string[];
  denied: readonly string[];
}> {
  const { hostFacts, lameNeeds, unmetNeeds } = await import('../../common/host-facts.ts');
  // Root runs this with any PATH.
  await settlePrograms();
  const facts = cluster && (await hostFacts());
  if (facts === undefined || !facts.addresses.includes(cluster!.self.address))
    return { looked: false, problems: [], warnings: [], denied: [] };
  const unmet = await unmetNeeds(needs, facts);
  const secrets = secretProblems(cluster!);
  return {
    looked: true,
    problems: [
      ...secrets.problems.map(({ key, message }) => ({
        where: where(['cluster', key]),
        key: `cluster.${key}`,
        message: `cluster.${key}: ${message}`,
      })),
      ...unmet.map((need) => ({ where: need.where, key: need.path.join('.'), message: need.message })),
    ],
    warnings: lameNeeds(needs, facts).map(({ where, message }) => `${where}: warning: ${message}`),
    denied: secrets.denied.map((line) => `Not looked at: ${line}`),
  };
}

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
  const status = await control<BackendStatus>(join(runDir, SOCKETS.lbd), 'POST', path, change);
  const { state, weight, active, why } = printableAll(status);
  const facts = [state, `weight ${weight}`, `${active} active`, why];
  return { text: `${name}: ${facts.filter((fact) => fact !== '').join(', ')}`, json: status };
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

/** Events of both daemons by the time at which they happened; what is missing because a daemon is down is said. */
async function askEvents(runDir: string): Promise<{ events: ControlEvent[]; failures: string[] }> {
  const answers = await Promise.allSettled(
    [SOCKETS.agent, SOCKETS.lbd].map((socket) =>
      control<ControlEvent[]>(join(runDir, socket), 'GET', '/v1/events'),
    ),
  );
  const failures = answers.flatMap((a) => (a.status === 'rejected' ? [messageOf(a.reason)] : []));
  if (failures.length === answers.length) throw new OperatorError('NOT_RUNNING', failures.join('; '));
  const events = answers
    .flatMap((a) => (a.status === 'fulfilled' ? a.value : []))
    .toSorted((a, b) => a.mono_ms - b.mono_ms);
  if (answers[0]!.status === 'rejected' && (await isAlone(runDir).catch(() => false)))
    return { events, failures: [] };
  return { events, failures };
}

function eventLine(event: ControlEvent): string {
  const { time, source, kind, text } = printableAll(event);
  return `${paint('dim', time)} ${source.padEnd(5)} ${kind.padEnd(8)} ${text}`;
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

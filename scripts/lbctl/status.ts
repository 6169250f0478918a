import { join } from 'node:path';
import {
  type AgentStatus,
  type BackendStatus,
  type GroupStatus,
  type LbdStatus,
  type LeaseStatus,
  type LeavingStatus,
  SOCKETS,
  type VipStatus,
  type WitnessStatus,
} from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { count } from '../../common/count.ts';
import { formatAge } from '../../common/duration.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { printableAll } from '../../common/printable.ts';
import { type RuntimeStatus, runtimeWarning } from '../../common/runtime.ts';
import { fittingFacts, fittingTable } from './columns.ts';
import { latencyText, paint, paintWord } from './format.ts';

/** What one daemon said, or why it said nothing. */
type Answer<T> = { readonly status: T; readonly error: null } | ({ readonly status: null } & Failure);

/** Why a daemon gave no answer. @see OperatorError.code */
export interface Failure {
  readonly error: string;
  readonly code?: string | undefined;
}

export interface NodeView {
  readonly lbd: Answer<LbdStatus>;
  readonly agent: Answer<AgentStatus>;
}

/**
 * Asks both daemons of this node; one of them may be down.
 *
 * @throws OperatorError when neither answers
 */
export async function askNode(runDir: string): Promise<NodeView> {
  const [lbd, agent] = await Promise.all([
    ask<LbdStatus>(join(runDir, SOCKETS.lbd)),
    ask<AgentStatus>(join(runDir, SOCKETS.agent)),
  ]);
  if (lbd.error !== null && agent.error !== null) throw nobodyAnswers([lbd, agent]);
  return { lbd, agent };
}

/** Who may not ask does not know what runs: that goes before what is found not to run. */
export function nobodyAnswers(failures: readonly Failure[]): OperatorError {
  const denied = failures.filter(isDenied);
  const said = (denied.length > 0 ? denied : failures).map(({ error }) => error).join('; ');
  return new OperatorError(denied.length > 0 ? 'NOT_ALLOWED' : 'NOT_RUNNING', said);
}

export function isDenied({ code }: Partial<Failure>): boolean {
  return code === 'NOT_ALLOWED';
}

export function failureOf(error: unknown): Failure {
  return { error: messageOf(error), code: error instanceof OperatorError ? error.code : undefined };
}

async function ask<T>(socket: string): Promise<Answer<T>> {
  try {
    return { status: await control<T>(socket, 'GET', '/v1/status'), error: null };
  } catch (error) {
    return { status: null, ...failureOf(error) };
  }
}

/** Status for programs: names that hold across releases, `null` where the daemon that knows is down. */
export function statusJson({ lbd, agent }: NodeView): object {
  const a = agent.status;
  const l = lbd.status;
  return {
    node: a?.node ?? l?.node,
    role: a?.role ?? null,
    epoch: a?.epoch ?? null,
    priority: a?.priority ?? null,
    why: a?.why ?? null,
    since_ms: a?.since_ms ?? null,
    vips: a?.vips ?? [],
    groups: a?.groups ?? [],
    peer: a === null ? null : { ...a.peer, seen_ms_ago: a.peer.seen_ms_ago ?? null },
    paths: a?.paths ?? [],
    sync: l?.sync ?? null,
    flows: l?.flows ?? null,
    leaving: l?.leaving ?? [],
    left_out: l?.left_out ?? [],
    frontends: l?.frontends ?? {},
    pools: l?.pools ?? {},
    warnings: warningsOf({ lbd, agent }),
    notes: [...(a?.notes ?? []), ...(l?.notes ?? [])],
    lbd:
      l === null
        ? { running: false, error: lbd.error }
        : { running: true, ...processOf(l), config: l.config, workers: l.workers },
    agent:
      a === null
        ? { running: false, error: agent.error }
        : { running: true, ...processOf(a), sees_lbd: a.lbd, guardian: a.guardian },
    second_chance: a?.second_chance ?? null,
  };
}

function processOf({ version, runtime, pid }: LbdStatus | AgentStatus): object {
  return { version, runtime, pid };
}

/** Status for people. */
export function statusText(answers: NodeView): string {
  const view = printableAll(answers);
  const { lbd } = view;
  const parts = [fittingFacts([...agentRows(view), ...lbdRows(lbd.status)])];
  if (lbd.status !== null) {
    parts.push(frontendTable(lbd.status));
    parts.push(backendTable(lbd.status.pools));
  }
  const warnings = warningsOf(view);
  if (warnings.length > 0) parts.push(warnings.map((w) => paint('yellow', `! ${w}`)).join('\n'));
  const notes = [...(view.agent.status?.notes ?? []), ...(view.lbd.status?.notes ?? [])];
  if (notes.length > 0) parts.push(notes.map((note) => `note: ${note}`).join('\n'));
  return parts.filter((part) => part !== '').join('\n\n');
}

/** Everything that an operator should know without asking, one line each. */
function warningsOf({ lbd, agent }: NodeView): string[] {
  const warnings: string[] = [];
  if (lbd.error !== null) warnings.push(lbd.error);
  if (agent.error !== null && !isAlone(lbd.status)) warnings.push(agent.error);
  if (agent.status !== null) {
    const { peer, guardian, groups } = agent.status;
    if (peer.same_config === false) {
      const where = peer.differs_in.length === 0 ? '' : `; it differs in ${peer.differs_in.join(', ')}`;
      warnings.push(`config mismatch: ${peer.node} runs another config than this node${where}`);
    }
    if (!peer.alive) warnings.push(`${peer.node} is silent on every path`);
    else
      for (const { name, peer: there } of groups)
        if (!there.alive) warnings.push(`${peer.node} is silent about group ${name}`);
    if (!guardian.alive) warnings.push('the guardian is not running');
    for (const { role, vips } of groups)
      if (role === 'active')
        for (const vip of vips)
          if (!vip.held) warnings.push(`this node is active but does not hold ${vip.address}`);
    warnings.push(...agent.status.warnings);
  }
  if (lbd.status !== null) {
    const { sync } = lbd.status;
    if (sync.digest_equal === false)
      warnings.push('the session tables of the two nodes differ; a repair is under way');
    warnings.push(...lbd.status.warnings);
  }
  for (const runtime of [agent.status?.runtime, lbd.status?.runtime]) {
    const old = runtime && runtimeWarning(runtime, new Date());
    if (old !== undefined) warnings.push(old);
  }
  return [...new Set(warnings)];
}

/** Without a cluster there is no agent to miss. */
export function isAlone(lbd: LbdStatus | null): boolean {
  return lbd?.sync.state === 'off';
}

const SEPARATOR = ' · ';
const LEASE_COLORS = { 'grants leases': 'green', starting: 'yellow', away: 'red' } as const;
const ROLE_COLORS = { active: 'green', standby: 'cyan', fault: 'red', init: 'yellow' } as const;

function agentRows({ agent: { status: agent }, lbd }: NodeView): string[][] {
  if (agent === null) {
    const role = isAlone(lbd.status) ? 'a single lbd' : paint('yellow', 'role unknown');
    return [['node', [lbd.status?.node ?? '', role].join(SEPARATOR)]];
  }
  return [
    ...roleRows(agent),
    ['peer', peerFacts(agent.peer).join(SEPARATOR)],
    ...agent.paths.map((path) => ['path', pathFacts(path).join(SEPARATOR)]),
    ...(agent.witness === undefined ? [] : [['witness', witnessFacts(agent.witness).join(SEPARATOR)]]),
    ...(agent.lease === undefined
      ? []
      : [['witness', leaseFacts(agent.lease, agent.groups).join(SEPARATOR)]]),
    [
      'agent',
      [
        `pid ${agent.pid}`,
        agent.version,
        ...runtimeFacts(agent.runtime),
        `guardian ${agent.guardian.alive ? 'alive' : paint('red', 'dead')}`,
      ].join(SEPARATOR),
    ],
  ];
}

/** What a peer said last is no more than that once it is silent: two active nodes must not seem to be there. */
export function peerFacts({
  node,
  role,
  epoch,
  seen_ms_ago,
  alive,
  same_config,
}: AgentStatus['peer']): string[] {
  if (seen_ms_ago === undefined) return [node, paint('red', 'never heard')];
  if (!alive)
    return [node, paint('red', `silent for ${formatAge(seen_ms_ago)}`), `was ${role}, epoch ${epoch}`];
  const config =
    same_config === undefined ? [] : [same_config ? 'same config' : paint('red', 'another config')];
  return [node, role, `epoch ${epoch}`, `heard ${formatAge(seen_ms_ago)} ago`, ...config];
}

function runtimeFacts(runtime: RuntimeStatus | undefined): string[] {
  return runtime === undefined ? [] : [`${runtime.name} ${runtime.version} (OpenSSL ${runtime.openssl})`];
}

function witnessFacts({ addresses, state, why }: WitnessStatus): string[] {
  const color = state === 'answers' ? 'green' : state === 'silent' ? 'red' : 'yellow';
  return [addresses.join(', '), paint(color, state), ...(state === 'answers' ? [] : [why])];
}

/** A witness that grants leases, and who has those of the groups as far as this node knows. */
export function leaseFacts(
  { address, state, answered_ms_ago, why }: LeaseStatus,
  groups: AgentStatus['groups'],
): string[] {
  const leases = groups.flatMap(({ name, lease }) => {
    if (lease === undefined) return [];
    const whose = groups.length === 1 ? 'lease' : `lease of ${name}`;
    const left = lease.left_ms === undefined ? '' : ` for ${formatAge(lease.left_ms)}`;
    const isKnown = lease.holder !== 'nobody' || state === 'grants';
    return [
      isKnown ? `${whose} held by ${lease.holder}${left}` : `holder of the ${whose} not known`,
      ...(lease.bound ? [] : [paint('yellow', 'as without a witness')]),
    ];
  });
  const answered = answered_ms_ago === undefined ? [] : [`answered ${formatAge(answered_ms_ago)} ago`];
  return [
    address,
    paintWord(LEASE_COLORS, state === 'grants' ? 'grants leases' : state),
    ...answered,
    ...(why === '' ? [] : [why]),
    ...leases,
  ];
}

function roleRows({ node, groups, peer }: AgentStatus): string[][] {
  const [only, ...more] = groups;
  if (only !== undefined && more.length === 0)
    return [['node', [node, ...roleFacts(only)].join(SEPARATOR)], ...groupRows(only, peer.node)];
  return [
    [
      'node',
      [node, ...groups.map(({ name, role }) => `${paintWord(ROLE_COLORS, role)} for ${name}`)].join(
        SEPARATOR,
      ),
    ],
    ...groups.flatMap((group) => [
      ['group', [group.name, ...roleFacts(group), peerRole(peer.node, group.peer)].join(SEPARATOR)],
      ...groupRows(group, peer.node),
    ]),
  ];
}

function peerRole(node: string, { role, alive, seen_ms_ago }: GroupStatus['peer']): string {
  if (alive) return `${node} ${role}`;
  return `${node} ${paint('red', 'silent')}${seen_ms_ago === undefined ? '' : `, was ${role}`}`;
}

function roleFacts({ role, epoch, priority, since_ms }: GroupStatus): string[] {
  return [
    paintWord(ROLE_COLORS, role),
    `epoch ${epoch}`,
    `priority ${priority}`,
    `for ${formatAge(since_ms)}`,
  ];
}

function groupRows(group: GroupStatus, peer: string): string[][] {
  return [
    // The reason is of the moment when it took over, and may be long past.
    ['why', `${group.role === 'active' ? 'took over: ' : ''}${group.why}`],
    ...group.vips.map((vip) => ['vip', [vip.address, vip.interface, heldText(vip)].join(SEPARATOR)]),
    ...finishingRows(group, peer),
  ];
}

/** Whether a VIP is here, and by whom. */
export function heldText({ held, copies = [] }: VipStatus): string {
  const text = held ? paint('green', 'held') : 'not held';
  return copies.length === 0 ? text : `${text}, but here by somebody else: ${copies.join(', ')}`;
}

/** What is left of a planned change of the active node. */
function finishingRows({ second_chance: { finishing, forwarding } }: GroupStatus, peer: string): string[][] {
  const rows: string[][] = [];
  if (finishing !== undefined) {
    const { connections } = finishing;
    const open = connections === undefined ? 'the connections' : count(connections, 'connection');
    const left = finishing.left_ms === undefined ? '' : `${SEPARATOR}${formatAge(finishing.left_ms)} left`;
    rows.push(['finishing', `${open} of the former active${left}`]);
  }
  if (forwarding) rows.push(['forwarding', `what belongs to open connections of ${peer} goes on to ${peer}`]);
  return rows;
}

function pathFacts(path: AgentStatus['paths'][number]): string[] {
  const dropped = Object.entries(path.dropped).filter(([, n]) => n > 0);
  return [
    path.name,
    paint(path.state === 'up' ? 'green' : 'red', path.state),
    path.seen_ms_ago === undefined ? 'never heard' : `heard ${formatAge(path.seen_ms_ago)} ago`,
    `sent ${path.sent}`,
    `received ${path.received}`,
    ...(dropped.length === 0 ? [] : [`dropped ${dropped.map(([cause, n]) => `${n} ${cause}`).join(', ')}`]),
    ...(path.why === '' ? [] : [path.why]),
  ];
}

function flowRows(flows: LbdStatus['flows']): string[][] {
  if (flows === undefined || flows.state === 'off') return [];
  const { state, lag_p99_ms, digest_equal, resyncs } = flows;
  const color = state === 'synced' || state === 'counting' ? 'green' : state === 'failed' ? 'red' : 'yellow';
  const facts = [
    paint(color, state),
    count(flows.flows, 'flow'),
    `lag ${formatAge(flows.lag_ms)}`,
    ...(lag_p99_ms === undefined ? [] : [`99 % within ${formatAge(lag_p99_ms)}`]),
    ...(digest_equal === false ? [paint('red', 'tables differ')] : []),
    ...(resyncs === 0 ? [] : [count(resyncs, 'resync')]),
    ...(flows.why === '' ? [] : [flows.why]),
  ];
  return [['flows', facts.join(SEPARATOR)]];
}

function lbdRows(lbd: LbdStatus | null): string[][] {
  if (lbd === null) return [];
  const { sync, workers } = lbd;
  const syncFacts = [
    paint(sync.state === 'synced' || sync.state === 'off' ? 'green' : 'yellow', sync.state),
    `${sync.entries} of ${count(sync.capacity, 'session')}`,
    `lag ${formatAge(sync.lag_ms)}`,
    ...(sync.digest_equal === undefined
      ? []
      : [sync.digest_equal ? 'tables equal' : paint('red', 'tables differ')]),
    ...(sync.why === '' ? [] : [sync.why]),
  ];
  return [
    ['sync', syncFacts.join(SEPARATOR)],
    ...flowRows(lbd.flows),
    ...(lbd.leaving ?? []).map((leaver) => ['leaving', leavingFacts(leaver).join(SEPARATOR)]),
    [
      'lbd',
      [
        `pid ${lbd.pid}`,
        lbd.version,
        ...runtimeFacts(lbd.runtime),
        `up ${formatAge(lbd.uptime_ms)}`,
        `${workers.running} of ${count(workers.wanted, 'worker')}`,
        ...(workers.replaced === 0 ? [] : [`${workers.replaced} replaced`]),
        `config ${lbd.config.digest.slice(0, 12)}`,
      ].join(SEPARATOR),
    ],
  ];
}

/** What is left of something that a reload has taken out. */
export function leavingFacts({ name, connections, left_ms, health, why }: LeavingStatus): string[] {
  const sick = health === 'unhealthy' ? [paint('red', `unhealthy: ${why}`)] : [];
  return [name, `${connections} open`, `cut in ${formatAge(left_ms)}`, ...sick];
}

function frontendTable({ frontends }: LbdStatus): string {
  const rows = Object.entries(frontends).map(([name, f]) => [
    name,
    f.mode,
    f.bind.join(' '),
    ofLimit(f.connections, f.max_connections),
    String(f.accepted),
    String(f.requests),
    refusedText(f),
  ]);
  const engines = Object.entries(frontends).flatMap(([name, { engine }]) =>
    engine === undefined ? [] : [`${name}: engine ${engine.engine}, ${engine.why}`],
  );
  return [
    fittingTable(['FRONTEND', 'MODE', 'BIND', 'OPEN', 'ACCEPTED', 'REQUESTS', 'REFUSED'], rows, {
      columns: ['ACCEPTED', 'MODE'],
      below: true,
    }),
    ...engines,
  ].join('\n');
}

function ofLimit(number: number, limit: number | undefined): string {
  return limit === undefined ? String(number) : `${number}/${limit}`;
}

/** Clients that were turned away since the start, by cause. */
function refusedText({ refused = {}, datagrams }: LbdStatus['frontends'][string]): string {
  const causes = Object.entries(refused);
  if (datagrams !== undefined && datagrams.evicted > 0) causes.push(['evicted', datagrams.evicted]);
  return causes.length === 0 ? '-' : causes.map(([cause, n]) => `${n} ${cause}`).join(', ');
}

const STATE_COLORS = {
  ready: 'green',
  starting: 'yellow',
  draining: 'yellow',
  drained: 'yellow',
  maint: 'yellow',
  down: 'red',
  ejected: 'red',
} as const;

/** Of one backend; more make its row too long. */
const MAX_ADDRESSES_SHOWN = 2;

/** In the reason of a backend that is drained or in maintenance. */
const BY_OPERATOR = 'by the operator';

/** One row a backend: `POOL/BACKEND` is what the other commands take. */
export function backendTable(answered: LbdStatus['pools']): string {
  const pools = printableAll(answered);
  const queues = Object.entries(pools).flatMap(([pool, { queue }]) =>
    queue === undefined || queue.waiting === 0
      ? []
      : [`pool ${pool}: ${queue.waiting} of ${queue.length} places in its queue are taken`],
  );
  const rows = Object.entries(pools).flatMap(([pool, { backends }]) =>
    Object.entries(backends).map(([name, b]) => [
      `${pool}/${name}`,
      addressOf(b),
      paintWord(STATE_COLORS, b.state),
      b.health,
      ofLimit(b.active, b.max_connections),
      String(b.weight),
      latencyText(b.latency_ms),
      String(b.errors),
      formatAge(b.since_ms),
      whyOf(b),
    ]),
  );
  const backends = fittingTable(
    ['BACKEND', 'ADDRESS', 'STATE', 'HEALTH', 'ACTIVE', 'WEIGHT', 'LATENCY', 'ERRORS', 'FOR', 'WHY'],
    rows,
    // The state says what the health is.
    { columns: ['HEALTH', 'LATENCY', 'ERRORS', 'FOR', 'WEIGHT'], below: true },
  );
  return [backends, ...queues].join('\n');
}

/** As in the config; behind a host name the addresses that get clients. */
function addressOf({ address, resolved }: BackendStatus): string {
  if (resolved === undefined) return address;
  const { addresses, usable } = resolved;
  if (addresses.length === 0) return `${address} (no address)`;
  const more = usable.length - MAX_ADDRESSES_SHOWN;
  const shown = usable.slice(0, MAX_ADDRESSES_SHOWN).join(' ');
  return `${address} (${shown}${more > 0 ? ` and ${more} more` : ''})`;
}

function whyOf({
  why,
  failing_checks: failing,
  admin,
  admin_at: at,
  weight,
  resolved,
}: BackendStatus): string {
  const missing = failing.filter((check) => !why.includes(check));
  const health = missing.length === 0 ? why : `${why} (failing: ${missing.join(', ')})`;
  const isOld = resolved?.trouble !== undefined && resolved.addresses.length > 0;
  const text = isOld ? `${health}; found ${formatAge(resolved.age_ms)} ago: ${resolved.trouble}` : health;
  if (at === undefined) return text;
  // Somebody forgets that a backend is drained; how long ago it was tells whether it is still meant.
  const age = `${BY_OPERATOR} ${formatAge(Math.max(0, Date.now() - Date.parse(at)))} ago`;
  return text.includes(BY_OPERATOR)
    ? text.replace(BY_OPERATOR, age)
    : `${text}; ${admin === 'ready' ? `ready, weight ${weight}` : admin} ${age}`;
}

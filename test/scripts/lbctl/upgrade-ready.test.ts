import { join } from 'node:path';
import t from 'tap';
import { type AgentStatus, type GroupStatus, type LbdStatus, SOCKETS } from '../../../common/control.ts';
import { serveControl } from '../../../common/control-server.ts';
import { askNode } from '../../../scripts/lbctl/status.ts';
import { awaitReadiness, readinessText, upgradeReadiness } from '../../../scripts/lbctl/upgrade-ready.ts';
import { tempDir } from '../../common/temp-dir.ts';

const PEER: GroupStatus['peer'] = { role: 'active', epoch: 7, seen_ms_ago: 40, alive: true };
const SECOND_CHANCE: GroupStatus['second_chance'] = {
  ...{ available: true, finishing: undefined, forwarding: false },
};
/** A standby in good order. */
const GROUP: GroupStatus = {
  ...{ name: 'default', role: 'standby', epoch: 7, priority: 150, why: 'lb2 is active', since_ms: 900 },
  ...{ vips: [], peer: PEER, second_chance: SECOND_CHANCE },
};

/** What the command does not look at is left out. */
function agentOf(groups: readonly Partial<GroupStatus>[], sameConfig: boolean): AgentStatus {
  const all = groups.map((group) => ({ ...GROUP, ...group }));
  const peer = { ...all[0]!.peer, node: 'lb2', same_config: sameConfig, differs_in: [] };
  return { node: 'lb1', role: all[0]!.role, groups: all, peer } as unknown as AgentStatus;
}

const LBD = {
  node: 'lb1',
  sync: { state: 'synced', entries: 5, capacity: 1024, lag_ms: 0, why: '', digest_equal: true },
  frontends: { web: { bind: ['*:80'], mode: 'http', connections: 0, accepted: 2, requests: 3 } },
} as unknown as LbdStatus;

interface Case {
  readonly what: string;
  readonly agent?: Partial<GroupStatus> | null;
  /** Of several groups. */
  readonly groups?: readonly Partial<GroupStatus>[];
  readonly anotherConfig?: true;
  readonly lbd?: Partial<LbdStatus> | null;
  /** All that speaks against it; none: it is ready. */
  readonly against?: readonly RegExp[];
  readonly next?: RegExp;
  readonly notes?: readonly RegExp[];
}

const peer = (change: Partial<GroupStatus['peer']>) => ({ ...PEER, ...change });
const sync = (change: Partial<LbdStatus['sync']>) => ({ ...LBD.sync, ...change });
const finishing = (connections: number | undefined, left_ms: number | undefined) => ({
  second_chance: { ...SECOND_CHANCE, finishing: { connections, left_ms } },
});

const CASES: readonly Case[] = [
  {
    what: 'a standby in good order',
    next: /^restart lb1; if that is done: lbctl switchover on lb2, then lb2$/,
  },
  { what: 'a node in fault whose peer is active', agent: { role: 'fault', why: 'eth1 is down' } },
  { what: 'a node whose lbd does not run, while the peer is active', agent: { role: 'fault' }, lbd: null },
  {
    what: 'the active node with a standby',
    agent: { role: 'active', peer: peer({ role: 'standby' }) },
    against: [/^it is active$/],
    next: /^lbctl switchover, then/,
  },
  {
    what: 'the active node with a peer in fault',
    agent: { role: 'active', peer: peer({ role: 'fault' }) },
    against: [/^it is active, and lb2 cannot take over: it is fault$/],
    next: /^mend lb2 first/,
  },
  {
    what: 'the active node with a silent peer, and so without sync',
    agent: { role: 'active', peer: peer({ alive: false, role: 'standby' }) },
    lbd: { sync: sync({ state: 'connecting', why: 'lb2 closed the link' }) },
    against: [/^it is active, and lb2 is not heard$/, /not in step: connecting, lb2 closed the link$/],
    next: /^mend lb2 first/,
  },
  {
    what: 'a standby that does not hear its peer any more',
    agent: { peer: peer({ alive: false }) },
    against: [/^lb2 is not heard$/],
  },
  {
    what: 'a standby while nobody is active',
    agent: { peer: peer({ role: 'standby' }) },
    against: [/^nobody is active: lb2 is standby$/],
  },
  {
    what: 'a node that has just started',
    agent: { role: 'init', why: 'listens' },
    against: [/^it has just started: listens$/],
    next: /^wait a moment$/,
  },
  {
    what: 'connections that finish',
    agent: finishing(3, 12_000),
    against: [/^3 connections of the time when it was active finish here$/],
    next: /^wait, 12s at most$/,
  },
  {
    what: 'one connection that finishes',
    agent: finishing(1, 900),
    against: [/^1 connection of the time when it was active finishes here$/],
  },
  {
    what: 'connections that are not counted yet',
    agent: finishing(undefined, undefined),
    against: [/^connections of the time/],
    next: /^wait a moment$/,
  },
  {
    what: 'sessions that are not in step yet',
    lbd: { sync: sync({ state: 'snapshot' }) },
    against: [/^the sessions of both nodes are not in step: snapshot$/],
    next: /^wait a moment$/,
  },
  {
    what: 'an agent that does not run',
    agent: null,
    against: [/^nobody knows which node is active: gone$/],
    next: /^start ha-agent on this node$/,
  },
  {
    what: 'a single lbd',
    agent: null,
    lbd: { sync: sync({ state: 'off' }) },
    against: [/^it is a single lbd/],
  },
  {
    what: 'each node active for one group',
    groups: [{ name: 'blue', role: 'active', peer: peer({ role: 'standby' }) }, { name: 'green' }],
    against: [/^group blue: it is active$/],
    next: /^lbctl switchover --group all --to lb2, then lbctl upgrade-ready$/,
  },
  {
    what: 'a group for which nobody is active, while another one is well',
    groups: [{ name: 'blue' }, { name: 'green', peer: peer({ role: 'fault' }) }],
    against: [/^group green: nobody is active: lb2 is fault$/],
  },
  {
    what: 'standby for both groups',
    groups: [{ name: 'blue' }, { name: 'green' }],
    next: /^restart lb1; if that is done: lbctl switchover --group all --to lb1 on lb2, then lb2$/,
  },
  {
    what: 'what an operator should know all the same',
    anotherConfig: true,
    agent: { second_chance: { ...SECOND_CHANCE, available: false } },
    lbd: { frontends: { web: { ...LBD.frontends.web!, connections: 2 } } },
    notes: [/^lb2 runs another config$/, /^a switchover breaks open/, /^2 connections to an address of/],
  },
];

for (const {
  what,
  agent = {},
  groups,
  anotherConfig,
  lbd = {},
  against = [],
  next = /./,
  notes = [],
} of CASES)
  t.test(what, async (t) => {
    const readiness = upgradeReadiness({
      agent:
        agent === null
          ? { status: null, error: 'gone' }
          : { status: agentOf(groups ?? [agent], anotherConfig !== true), error: null },
      lbd:
        lbd === null
          ? { status: null, error: 'gone' }
          : { status: { ...LBD, ...lbd } as LbdStatus, error: null },
    });
    t.equal(readiness.ready, against.length === 0);
    if (against.length > 0) {
      t.equal(readiness.why.length, against.length, readiness.why.join('; '));
      t.match(readiness.why, against);
    }
    t.match(readiness.next, next);
    t.equal(readiness.notes.length, notes.length, readiness.notes.join('; '));
    t.match(readiness.notes, notes);
    t.match(readinessText(readiness), readiness.ready ? /may be restarted now/ : /must not be restarted now/);
  });

t.test('while no daemon answers it is waited for, and said when the time is over', async (t) => {
  const runDir = tempDir(t);
  await t.rejects(awaitReadiness(runDir, 0), { code: 'NOT_RUNNING' });
  await t.rejects(awaitReadiness(runDir, 1), { code: 'NOT_RUNNING' });
  const found = awaitReadiness(runDir, 600_000);
  // Asked after the first look, and refused like that.
  await t.rejects(askNode(runDir), { code: 'NOT_RUNNING' });
  for (const [name, status] of [
    ['agent', agentOf([{}], true)],
    ['lbd', LBD],
  ] as const) {
    const server = await serveControl(join(runDir, SOCKETS[name]), [
      { method: 'GET', path: '/v1/status', handle: () => status },
    ]);
    t.teardown(() => server.close());
  }
  t.match(await found, { node: 'lb1' });
});

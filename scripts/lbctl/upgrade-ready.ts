import { setTimeout as delay } from 'node:timers/promises';
import type { AgentStatus, GroupStatus, LbdStatus, SecondChanceStatus } from '../../common/control.ts';
import { count } from '../../common/count.ts';
import { formatAge } from '../../common/duration.ts';
import { OperatorError } from '../../common/errors.ts';
import { printableAll } from '../../common/printable.ts';
import { paint } from './format.ts';
import { askNode, type NodeView } from './status.ts';

const POLL_MS = 200;

/** Whether the daemons of this node may be restarted now without a loss for any client. */
export interface UpgradeReadiness {
  readonly ready: boolean;
  readonly node: string;
  readonly role: AgentStatus['role'] | null;
  /** What speaks for it, or all that speaks against it; at least one line. */
  readonly why: readonly string[];
  /** What an operator should know, but need not wait for. */
  readonly notes: readonly string[];
  /** What to do now, in words for people. */
  readonly next: string;
}

/** Something that speaks against a restart now, and what helps. */
interface Obstacle {
  readonly why: string;
  readonly next: string;
}

/** Judges one look at both daemons of this node. Of several obstacles, the first one's remedy comes first. */
export function upgradeReadiness({ agent, lbd }: NodeView): UpgradeReadiness {
  const node = agent.status?.node ?? lbd.status?.node ?? 'this node';
  const role = agent.status?.role ?? null;
  const obstacles =
    agent.status === null
      ? [withoutAgent(agent.error, lbd.status)]
      : [...roleObstacles(agent.status), ...syncObstacles(lbd.status, agent.status.peer.node)];
  const [first] = obstacles;
  const notes = notesOf(agent.status, lbd.status);
  if (first !== undefined)
    return { ready: false, node, role, why: obstacles.map(({ why }) => why), notes, next: first.next };
  const peer = agent.status!.peer.node;
  const serves = `${peer} is active and answers; nothing of its clients is left here`;
  const sync =
    lbd.status === null ? `lbd does not run: ${lbd.error}` : 'the sessions of both nodes are in step';
  return {
    ...{ ready: true, node, role, notes },
    why: [`${node} is ${role}`, serves, sync],
    // Whether it has been restarted already cannot be seen from here.
    next: `restart ${node}; if that is done: ${switchover(agent.status!.groups.length > 1, node)} on ${peer}, then ${peer}`,
  };
}

/**
 * Looks again and again until a restart is safe or the time is over; also while no daemon runs, as in the middle of one.
 *
 * @param waitMs 0: one look
 * @throws OperatorError when no daemon of this node answers at the last look
 */
export async function awaitReadiness(runDir: string, waitMs: number): Promise<UpgradeReadiness> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const isLast = performance.now() >= deadline;
    const readiness = await look(runDir, isLast);
    if (readiness !== undefined && (readiness.ready || isLast)) return readiness;
    await delay(Math.max(0, Math.min(POLL_MS, deadline - performance.now())));
  }
}

/** @returns undefined: no daemon answers, which the last look does not forgive */
async function look(runDir: string, isLast: boolean): Promise<UpgradeReadiness | undefined> {
  try {
    return upgradeReadiness(await askNode(runDir));
  } catch (error) {
    if (!isLast && error instanceof OperatorError && error.code === 'NOT_RUNNING') return undefined;
    throw error;
  }
}

export function readinessText(readiness: UpgradeReadiness): string {
  const { ready, node, why, notes, next } = printableAll(readiness);
  const verdict = ready
    ? paint('green', `${node} may be restarted now`)
    : paint('red', `${node} must not be restarted now`);
  const lines = why.map((line) => `  ${line}`);
  const warnings = notes.map((line) => paint('yellow', `! ${line}`));
  return [verdict, ...lines, ...warnings, `next: ${next}`].join('\n');
}

function withoutAgent(error: string, lbd: LbdStatus | null): Obstacle {
  if (lbd?.sync.state === 'off')
    return {
      why: 'it is a single lbd: there is no other node that could serve meanwhile',
      next: 'restart it when nobody minds that its open connections break',
    };
  return { why: `nobody knows which node is active: ${error}`, next: 'start ha-agent on this node' };
}

function roleObstacles({ groups, peer: { node } }: AgentStatus): Obstacle[] {
  return groups.flatMap((group) => {
    const obstacles = groupObstacles(group, node, groups.length > 1);
    if (groups.length === 1) return obstacles;
    return obstacles.map(({ why, next }) => ({ why: `group ${group.name}: ${why}`, next }));
  });
}

function groupObstacles(
  { role, why, peer, second_chance }: GroupStatus,
  node: string,
  one: boolean,
): Obstacle[] {
  if (role === 'active') return [activeObstacle(peer, node, one)];
  const obstacles: Obstacle[] = [];
  if (!peer.alive || peer.role !== 'active')
    obstacles.push({
      why: peer.alive ? `nobody is active: ${node} is ${peer.role}` : `${node} is not heard`,
      next: mend(node),
    });
  else if (role === 'init') obstacles.push({ why: `it has just started: ${why}`, next: 'wait a moment' });
  if (second_chance.finishing !== undefined) obstacles.push(finishing(second_chance.finishing));
  return obstacles;
}

/** @param one the group is one of several */
function activeObstacle({ alive, role }: GroupStatus['peer'], node: string, one: boolean): Obstacle {
  if (!alive) return { why: `it is active, and ${node} is not heard`, next: mend(node) };
  if (role !== 'standby')
    return { why: `it is active, and ${node} cannot take over: it is ${role}`, next: mend(node) };
  return { why: 'it is active', next: `${switchover(one, node)}, then lbctl upgrade-ready` };
}

/** @param grouped there are several groups */
function switchover(grouped: boolean, to: string): string {
  return grouped ? `lbctl switchover --group all --to ${to}` : 'lbctl switchover';
}

function mend(node: string): string {
  return `mend ${node} first: see "lbctl status" there`;
}

function finishing({ connections, left_ms }: NonNullable<SecondChanceStatus['finishing']>): Obstacle {
  const what = connections === undefined ? 'connections' : count(connections, 'connection');
  return {
    why: `${what} of the time when it was active ${connections === 1 ? 'finishes' : 'finish'} here`,
    next: left_ms === undefined ? 'wait a moment' : `wait, ${formatAge(left_ms)} at most`,
  };
}

function syncObstacles(lbd: LbdStatus | null, peer: string): Obstacle[] {
  // An lbd that does not run has no sessions to lose.
  if (lbd === null || lbd.sync.state === 'synced') return [];
  const { state, why } = lbd.sync;
  return [
    {
      why: `the sessions of both nodes are not in step: ${state}${why === '' ? '' : `, ${why}`}`,
      next: state === 'snapshot' ? 'wait a moment' : `see why there is no session sync with ${peer}`,
    },
  ];
}

function notesOf(agent: AgentStatus | null, lbd: LbdStatus | null): string[] {
  const notes: string[] = [];
  if (agent?.peer.same_config === false) notes.push(`${agent.peer.node} runs another config`);
  const groups = agent?.groups ?? [];
  if (groups.some(({ second_chance }) => !second_chance.available))
    notes.push('a switchover breaks open connections: see "lbctl status" on both nodes');
  if (groups.every(({ role, second_chance }) => role !== 'active' && second_chance.finishing === undefined)) {
    const open = Object.values(lbd?.frontends ?? {}).reduce((sum, { connections }) => sum + connections, 0);
    if (open > 0) notes.push(`${count(open, 'connection')} to an address of this node's own would break`);
  }
  return notes;
}

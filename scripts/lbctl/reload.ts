import { join } from 'node:path';
import { type LbdStatus, type ReloadAnswer, refusedReload, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import { printable } from '../../common/printable.ts';

/** Reading takes a daemon up to a minute where the machine is slow; the first checks of new backends 5 s, a worker 30 s. */
const TIMEOUT_MS = 120_000;

const DAEMONS = { lbd: SOCKETS.lbd, agent: SOCKETS.agent } as const;
type DaemonKey = keyof typeof DAEMONS;
const NAMES: Readonly<Record<DaemonKey, string>> = { lbd: 'lbd', agent: 'ha-agent' };

/** What became of the reload of a node. `null`: that daemon was not asked. */
export interface NodeReload {
  /** All of it is in force, but for what needs a restart. */
  readonly ok: boolean;
  readonly lbd: ReloadAnswer | null;
  readonly agent: ReloadAnswer | null;
}

/**
 * Has the daemons of this node read their config file again, and waits for it. Where both are asked, lbd changes nothing
 * before the agent has said that it accepts the file.
 *
 * @throws OperatorError where a daemon that is asked does not answer
 */
export async function reloadNode(
  runDir: string,
  asked: Readonly<Record<DaemonKey, boolean>>,
): Promise<NodeReload> {
  const ask = (daemon: DaemonKey, body?: object) =>
    control<ReloadAnswer>(join(runDir, DAEMONS[daemon]), 'POST', '/v1/reload', body, TIMEOUT_MS);
  if (!asked.lbd) return outcome(null, await ask('agent'));
  if (!asked.agent || (await isAlone(runDir))) return outcome(await ask('lbd'), null);
  const accepted = await ask('agent', { check: true }).catch((error) => {
    if (!(error instanceof OperatorError) || error.code !== 'NOT_RUNNING') throw error;
    throw new OperatorError(error.code, `${error.message}; "lbctl reload --lbd" reloads lbd alone`);
  });
  if (accepted.outcome === 'refused') return outcome(null, await ask('agent'));
  const lbd = await ask('lbd');
  if (lbd.outcome === 'refused') return outcome(lbd, null);
  try {
    return outcome(lbd, await ask('agent'));
  } catch (error) {
    return outcome(lbd, refusedReload([messageOf(error)]));
  }
}

/**
 * Whether lbd is a single load balancer, which has no agent.
 *
 * @throws OperatorError where lbd does not answer
 */
export async function isAlone(runDir: string): Promise<boolean> {
  const { sync } = await control<LbdStatus>(join(runDir, SOCKETS.lbd), 'GET', '/v1/status');
  return sync.state === 'off';
}

function outcome(lbd: ReloadAnswer | null, agent: ReloadAnswer | null): NodeReload {
  const ok = [lbd, agent].every((answer) => answer === null || answer.problems.length === 0);
  return { ok, lbd, agent };
}

/** A line for each daemon, and one for each problem. */
export function reloadText({ lbd, agent }: NodeReload): string {
  const lines = (['lbd', 'agent'] as const).flatMap((key) => {
    const answer = key === 'lbd' ? lbd : agent;
    if (answer === null) return [];
    const { outcome, changes, problems, warnings } = answer;
    const words: Readonly<Partial<Record<string, string>>> = {
      applied: `reloaded: ${changes.join(', ') || 'nothing changed for it'}`,
      accepted: 'would be reloaded',
      unchanged: 'the file is unchanged',
      refused: 'refused, the old config stays',
    };
    // One that only a newer daemon knows is shown as it is.
    const what = words[outcome] ?? outcome;
    return [`${NAMES[key]}: ${what}`, ...[...problems, ...warnings].map((line) => `${NAMES[key]}: ${line}`)];
  });
  return lines.map(printable).join('\n');
}

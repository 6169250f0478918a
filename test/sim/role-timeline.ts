import type { FlowRole } from '../../lbd/flow/flow-roles.ts';
import { manyFaults } from './many-faults.ts';
import { Stage } from './stage.ts';

/** How often somebody looks. Roles are noted when `lbd` hears of them. */
const LOOK_MS = 5;

/** What a node is at a moment, as far as its `lbd` is concerned. */
export interface NodeMoment {
  readonly role: FlowRole;
  /** `lbd` runs. */
  readonly runs: boolean;
  /** It stands still. */
  readonly stands: boolean;
  /** Times that its machine lost power. */
  readonly losses: number;
  /** Clients reach it. */
  readonly owns: boolean;
}

/** What is so from a moment on. */
export interface Moment {
  readonly atMs: number;
  /** Both `lbd` have a connection to each other. */
  readonly linked: boolean;
  readonly nodes: readonly [NodeMoment, NodeMoment];
}

/** Who was what for the first VIP, and when, in a story of several faults with the real agents. */
export function roleTimeline(seed: number): readonly Moment[] {
  const moments: Moment[] = [];
  const stage = new Stage(seed);
  record(stage, moments);
  manyFaults(stage);
  return moments;
}

function record({ pair, ownerships }: Stage, moments: Moment[]): void {
  const { sim, nodes } = pair;
  const group = ownerships[0]!.group;
  const roles: [FlowRole, FlowRole] = ['standby', 'standby'];
  const losses: [number, number] = [0, 0];
  const ran: [boolean, boolean] = [false, false];
  let last = '';
  const note = () => {
    const at = ([0, 1] as const).map((i): NodeMoment => {
      const { machine, lbd } = nodes[i];
      const runs = machine.on && lbd.alive;
      // One that starts knows no role.
      if (!runs) roles[i] = 'standby';
      if (ran[i] && !machine.on) losses[i]++;
      ran[i] = machine.on;
      return {
        ...{ role: roles[i], runs, losses: losses[i] },
        stands: machine.holds('helper') || lbd.hangs,
        owns: ownerships[0]!.owners.includes(nodes[i]),
      };
    });
    const linked = nodes.every(({ lbd }) => lbd.linked);
    const moment: Omit<Moment, 'atMs'> = { linked, nodes: [at[0]!, at[1]!] };
    const text = JSON.stringify(moment);
    if (text !== last) moments.push({ atMs: sim.now, ...moment });
    last = text;
  };
  for (const i of [0, 1] as const)
    nodes[i].lbd.onRole = (message) => {
      if (message.group !== group) return;
      const { role, finishing } = message;
      // As the control plane says it to the flow sync.
      if (finishing !== undefined && finishing !== 'retiring') roles[i] = 'finishing';
      else roles[i] = role === 'active' ? 'active' : 'standby';
      note();
    };
  const look = () => {
    note();
    sim.after(LOOK_MS, look);
  };
  sim.after(0, look);
}

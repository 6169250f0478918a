import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../../common/model.ts';
import type { FlowRole } from '../flow/flow-roles.ts';
import type { FlowSync } from '../flow/flow-sync.ts';
import type { KernelEngine } from '../kernel/kernel-engine.ts';
import type { LiveRole, LiveServer } from './live.ts';
import type { OwnState } from './own-state.ts';
import type { Supervisor } from './supervisor.ts';
import type { SyncEnd } from './sync.ts';

/** At a planned change of the active node; a peer that does not answer must not hold it up. */
const RETIRE_FLUSH_MS = 100;
/** A graceful stop waits so long for the other node to become active; it serves meanwhile. */
const HAND_OVER_MS = 1_500;
/** After the other node has become active, clients whose neighbour entry is old still come here. */
const HAND_OVER_TAIL_MS = 500;

export interface GroupRolesOptions {
  readonly live: Pick<LiveServer, 'roles' | 'sendRetired'>;
  readonly supervisor: Pick<Supervisor, 'retire'>;
  readonly kernel: Pick<KernelEngine, 'role'>;
  readonly flows: Pick<FlowSync, 'assign'>;
  readonly sync: Pick<SyncEnd, 'status' | 'flush'>;
  readonly ownState: Pick<OwnState, 'finished'>;
  /** In force. */
  config(): Config;
  /** One line for people. */
  tell(text: string): void;
}

/** What the roles of the VIP groups, which the agent decides, mean for the parts of `lbd`. */
export class GroupRoles {
  readonly #options: GroupRolesOptions;
  /** Called when this node is not active any more. */
  #handedOver: (() => void) | undefined;

  constructor(options: GroupRolesOptions) {
    this.#options = options;
  }

  /** The agent said so. */
  changed({ group, role, epoch, finishing }: LiveRole, before: LiveRole | undefined): void {
    const { live, kernel, supervisor, ownState, tell } = this.#options;
    const { roles } = live;
    if (before?.role !== role || before.epoch !== epoch) {
      const whose = roles.length > 1 ? `group ${group}: ` : '';
      tell(`ha-agent says: ${whose}${role}, epoch ${epoch}`);
    }
    kernel.role(this.#vipsOf(group), role, before?.role);
    this.assignFlows();
    const retiring = roles.filter((it) => it.finishing !== undefined);
    supervisor.retire(
      Object.fromEntries(retiring.map((it) => [it.group, it.finishing === 'over' ? 'cut' : 'close'])),
    );
    if (finishing === undefined) ownState.finished(group, retiring.length > 0);
    if (finishing === 'retiring' && before?.finishing !== 'retiring') void this.#retire(group, epoch);
    if (!this.#mustHandOver()) this.#handedOver?.();
  }

  /** Whose flows are whose follows the roles. */
  assignFlows({ ha } = this.#options.config()): void {
    const { live, flows } = this.#options;
    const roles = new Map<string, FlowRole>();
    for (const { name, vips } of ha?.groups ?? []) {
      const known = live.roles.find(({ group }) => group === name);
      const finishes = known?.finishing !== undefined && known.finishing !== 'retiring';
      const role = finishes ? 'finishing' : known?.role === 'active' ? 'active' : 'standby';
      for (const { address } of vips) roles.set(address, role);
    }
    flows.assign(roles);
  }

  /** Before a stop: no client must find closed ports, so the listeners stay until the VIPs are elsewhere. */
  async handOver(): Promise<void> {
    if (!this.#mustHandOver()) return;
    const patience = new AbortController();
    const elsewhere = new Promise<true>((resolve) => {
      this.#handedOver = () => resolve(true);
    });
    const tooLong = delay(HAND_OVER_MS, false, { signal: patience.signal }).catch(() => false);
    const gone = await Promise.race([elsewhere, tooLong]);
    patience.abort();
    if (gone) await delay(HAND_OVER_TAIL_MS);
  }

  #vipsOf(group: string): string[] {
    const groups = this.#options.config().ha?.groups ?? [];
    return groups.find(({ name }) => name === group)?.vips.map(({ address }) => address) ?? [];
  }

  /** Clients still come to this node for some VIP. */
  #mustHandOver(): boolean {
    return this.#options.live.roles.some(
      ({ role, finishing }) => role === 'active' || finishing === 'retiring',
    );
  }

  /** What clients got until now must be known to the peer before they come to it. */
  async #retire(group: string, epoch: number): Promise<void> {
    const { sync, live } = this.#options;
    if (sync.status().state === 'synced') await sync.flush(RETIRE_FLUSH_MS);
    live.sendRetired(group, epoch);
  }
}

import { z } from 'zod';

/** Who moves the bytes of a frontend of mode tcp or udp, and how the kernel does it where it is the kernel. */

export const ENGINES = ['kernel', 'user', 'auto'] as const;
export type Engine = (typeof ENGINES)[number];

export interface EngineConfig {
  readonly engine: Engine;
  /**
   * `vip`: backends see the VIP as their client (without a cluster: this host), so their answers come back here. `none`:
   * they see the client, and must route to it through this node. undefined: not said, as `vip`, but `auto` makes sure
   * that answers come back.
   */
  readonly snat: 'vip' | 'none' | undefined;
  /** What becomes of the flows of a backend that is down. HAProxy calls `cut` `on-marked-down shutdown-sessions`. */
  readonly onBackendDown: 'cut' | 'keep';
  /** What the frontend and its pool ask for and the kernel cannot do, each in words; empty: it can do all. */
  readonly userOnly: readonly string[];
}

/** Keys of a frontend. */
export const engineKeys = {
  engine: z.enum(ENGINES).optional().meta({
    description:
      'Modes tcp and udp: who moves the bytes. `auto`: the kernel (nftables) where nothing of the frontend and its pool needs lbd and this host is ready, else lbd. `kernel`: also where answers may go astray; what only lbd can do is an error of the config. `user`: lbd. `lbctl status` and `lbctl explain` say which, and why.',
    'x-default': '`auto`',
  }),
  snat: z.enum(['vip', 'none']).optional().meta({
    description:
      'Kernel engine: whom backends see. `vip`: the VIP (a single lbd: this host), so that answers come back here. `none`: the client, and their way to it must lead through this node.',
    'x-default':
      '`vip`; where it is not said, `auto` takes the kernel only for backends on the network of the VIP',
  }),
  on_backend_down: z.enum(['cut', 'keep']).optional().meta({
    description:
      'Kernel engine: what becomes of the open flows of a backend that is down. `cut`: their clients are reset at once. `keep`: they are left alone.',
    'x-default': '`cut`',
  }),
};

import { isIP } from 'node:net';
import type { Role } from '../../common/control.ts';
import { TABLE } from './ruleset.ts';

/** Longer than it takes to bring the flows of the former active node into this kernel, and a retransmission. */
export const YOUNG_MS = 10_000;

/**
 * VIPs that came to this node a short time ago, or are not here: segments of flows to them that this kernel does not know
 * are dropped instead of answered with a reset. They are so in advance, so nothing is left to do at a takeover.
 */
export class Young {
  /** Undefined until: as long as the VIP is elsewhere. */
  readonly #until = new Map<string, number | undefined>();

  /**
   * The node's role for these VIPs.
   *
   * @param before undefined: it was not known, so lbd has started since the node came into this role
   * @returns whether anything changed
   */
  note(vips: readonly string[], role: Role, before: Role | undefined, nowMs: number): boolean {
    if (role === before) return false;
    for (const vip of vips)
      if (role !== 'active') this.#until.set(vip, undefined);
      else if (before !== undefined) this.#until.set(vip, nowMs + YOUNG_MS);
    return true;
  }

  /** Lines for `nft -f -` that put it in force; the kernel ends what ends by itself. */
  script(nowMs: number): string {
    const elements = { 4: [] as string[], 6: [] as string[] };
    for (const [vip, untilMs] of this.#until) {
      const family = isIP(vip) === 6 ? 6 : 4;
      if (untilMs === undefined) elements[family].push(vip);
      else if (untilMs > nowMs)
        elements[family].push(`${vip} timeout ${Math.ceil((untilMs - nowMs) / 1000)}s`);
    }
    return ([4, 6] as const)
      .map((family) => {
        const name = `inet ${TABLE} young${family}`;
        const list = elements[family];
        return `flush set ${name}\n${list.length === 0 ? '' : `add element ${name} { ${list.join(', ')} }\n`}`;
      })
      .join('');
  }
}

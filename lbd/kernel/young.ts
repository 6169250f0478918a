import { isIP } from 'node:net';
import type { Role } from '../../common/control.ts';
import type { YoungVips } from './kernel-host.ts';
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

  /** Those of now. @param known VIPs of the config; others are left out */
  vips(known: ReadonlySet<string>, nowMs: number): YoungVips {
    return Object.fromEntries(
      [...this.#until]
        .filter(([vip, untilMs]) => known.has(vip) && (untilMs === undefined || untilMs > nowMs))
        .map(([vip, untilMs]) => [vip, untilMs === undefined ? null : Math.ceil(untilMs - nowMs)]),
    );
  }
}

/** Young VIPs as the kernel has them, which ends by itself what ends. */
export class YoungSets {
  #until: ReadonlyMap<string, number | undefined> = new Map();

  /** @returns whether it differs by a second or more, which is as exact as the kernel is told */
  set(vips: YoungVips, nowMs: number): boolean {
    const before = this.#until;
    this.#until = new Map(
      Object.entries(vips).map(([vip, leftMs]) => [vip, leftMs === null ? undefined : nowMs + leftMs]),
    );
    const endsAlike = ([vip, untilMs]: [string, number | undefined]) =>
      before.has(vip) &&
      (before.get(vip) === untilMs ||
        Math.abs((untilMs ?? Number.POSITIVE_INFINITY) - (before.get(vip) ?? Number.NEGATIVE_INFINITY)) <
          1000);
    return before.size !== this.#until.size || ![...this.#until].every(endsAlike);
  }

  /** Lines for `nft -f -` that put it in force. */
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

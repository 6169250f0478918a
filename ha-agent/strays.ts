import { createHash } from 'node:crypto';
import { canonicalIp, ipBytes, isNetworkOrBroadcast } from '../common/address.ts';
import type { VipConfig } from '../common/model.ts';
import type { VipAnswer } from './election-types.ts';

/** A machine that serves may have some addresses that nobody here knows of, but hardly all of these. */
const COUNT = 3;
/** In a small network most of what is looked at is taken. */
const TRIES = 64;
/** Where there are more, those of the others answer alike. */
const MAX_NETWORKS = 4;
/** A VIP that stands alone says nothing of its network: what is near it is taken for that. */
const NEAR = { 4: { longest: 30, near: 24 }, 6: { longest: 112, near: 64 } } as const;

/**
 * Addresses beside the VIPs that nobody is known to have. A machine that answers for all of them answers for everybody
 * (proxy ARP, RFC 1027), and its answers for the VIPs are no sign that somebody serves: also one that leaves out the
 * asking node's own address, as the proxy ARP of private VLANs does (RFC 3069).
 */
export class Strays {
  /** Which of all addresses are taken: others next time, where some of these turn out to be somebody's. */
  #draw = 0;
  #asked: readonly (readonly string[])[] = [];

  /**
   * @param taken addresses that somebody has, beside the VIPs
   * @returns what to ask for; empty where the networks are too small
   */
  pick(vips: readonly VipConfig[], taken: readonly string[]): readonly string[] {
    const known = new Set([...taken, ...vips.map(({ address }) => address)]);
    const networks = new Map<string, readonly string[]>();
    for (const vip of vips) {
      if (vip.provider !== 'interface' || networks.size === MAX_NETWORKS) continue;
      const prefix = prefixOf(vip);
      const network = place(vip.address, prefix, Buffer.alloc(16));
      if (networks.has(network)) continue;
      networks.set(network, this.#some(network, prefix, known));
    }
    this.#asked = [...networks.values()].filter((some) => some.length === COUNT);
    return this.#asked.flat();
  }

  /** @returns link-layer addresses of machines that answer for all that was picked in some network */
  judge(answers: readonly VipAnswer[]): readonly string[] {
    const everybody = new Set<string>();
    for (const asked of this.#asked) {
      const of = asked.map((address) => answers.filter((it) => it.address === address).map(({ by }) => by));
      for (const by of of[0]!) if (of.every((all) => all.includes(by))) everybody.add(by);
    }
    const asked = this.#asked.flat();
    if (everybody.size === 0 && answers.some(({ address }) => asked.includes(address))) this.#draw++;
    return [...everybody];
  }

  /** The same each time until there is another draw, so that chance has no second try. */
  #some(network: string, prefix: number, known: ReadonlySet<string>): readonly string[] {
    const found = new Set<string>();
    for (let i = 0; i < TRIES && found.size < COUNT; i++) {
      const bits = createHash('sha256').update(`${network} ${this.#draw} ${i}`).digest();
      const address = place(network, prefix, bits);
      if (!known.has(address) && !isNetworkOrBroadcast(address, prefix)) found.add(address);
    }
    return [...found];
  }
}

function prefixOf({ prefix, family }: VipConfig): number {
  return prefix > NEAR[family].longest ? NEAR[family].near : prefix;
}

/** An address of the network of `address` with these bits behind the prefix. */
function place(address: string, prefix: number, bits: Buffer): string {
  const bytes = ipBytes(address).map((byte, i) => {
    const mask = 0xff >> Math.min(8, Math.max(0, prefix - 8 * i));
    return (byte & ~mask) | (bits[i]! & mask);
  });
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return canonicalIp(groups.join(':'))!;
}

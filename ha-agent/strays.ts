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
/** Linux answers for others up to 0.8 s late (`proxy_delay`, arp(7)), each time by another time; one answer may be lost. */
const LATE_MS = 1_500;
/** What a machine answered counts for so long after it last did. */
const REMEMBERED_MS = 10_000;
/** Anybody can answer by any name. */
const MAX_SIGHTINGS = 256;
/** A VIP that stands alone says nothing of its network: what is near it is taken for that. */
const NEAR = { 4: { longest: 30, near: 24 }, 6: { longest: 112, near: 64 } } as const;

interface Sighting extends VipAnswer {
  readonly sinceMs: number;
  readonly lastMs: number;
}

/**
 * Addresses beside the VIPs that nobody is known to have. A machine that answers for all of them answers for everybody
 * (proxy ARP, RFC 1027), and its answers for the VIPs are no sign that somebody serves: also one that leaves out the
 * asking node's own address, as the proxy ARP of private VLANs does (RFC 3069). It may answer late: what it answers to
 * some questions adds up.
 */
export class Strays {
  /** Which of all addresses are taken: others next time, where some of these turn out to be somebody's. */
  #draw = 0;
  /** By address and machine, the latest last. */
  readonly #seen = new Map<string, Sighting>();

  /**
   * @param taken addresses that somebody has, beside the VIPs
   * @returns what to ask for, by network; empty where the networks are too small
   */
  pick(vips: readonly VipConfig[], taken: readonly string[]): readonly (readonly string[])[] {
    const known = new Set([...taken, ...vips.map(({ address }) => address)]);
    const networks = new Map<string, readonly string[]>();
    for (const vip of vips) {
      if (vip.provider !== 'interface' || networks.size === MAX_NETWORKS) continue;
      const prefix = prefixOf(vip);
      const network = place(vip.address, prefix, Buffer.alloc(16));
      if (networks.has(network)) continue;
      networks.set(network, this.#some(network, prefix, known));
    }
    return [...networks.values()].filter((some) => some.length === COUNT);
  }

  /**
   * @param asked what was picked for this question
   * @param now monotonic, ms
   * @returns link-layer addresses of machines that have answered for all that was picked in some network
   */
  judge(
    asked: readonly (readonly string[])[],
    answers: readonly VipAnswer[],
    now: number,
  ): readonly string[] {
    this.#remember(asked.flat(), answers, now);
    const everybody = new Set<string>();
    let isSomebodys = false;
    for (const some of asked) {
      const seen = [...this.#seen.values()].filter(({ address }) => some.includes(address));
      const all = seen.filter(({ by }) => some.every((address) => this.#seen.has(keyOf({ address, by }))));
      for (const { by } of all) everybody.add(by);
      isSomebodys ||= all.length === 0 && seen.some(({ sinceMs }) => now - sinceMs >= LATE_MS);
    }
    if (isSomebodys) {
      this.#draw++;
      this.#seen.clear();
    }
    return [...everybody];
  }

  #remember(asked: readonly string[], answers: readonly VipAnswer[], now: number): void {
    for (const [key, { lastMs }] of this.#seen)
      if (now - lastMs > REMEMBERED_MS || this.#seen.size > MAX_SIGHTINGS) this.#seen.delete(key);
    for (const { address, by } of answers) {
      if (!asked.includes(address)) continue;
      const key = keyOf({ address, by });
      const sinceMs = this.#seen.get(key)?.sinceMs ?? now;
      this.#seen.delete(key);
      this.#seen.set(key, { address, by, sinceMs, lastMs: now });
    }
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

function keyOf({ address, by }: VipAnswer): string {
  return `${address} ${by}`;
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

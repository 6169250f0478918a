import { monotonicMs } from '../common/events.ts';
import type { VipConfig } from '../common/model.ts';
import type { Complaints } from './complaints.ts';
import type { IpAnswer } from './ip-batch.ts';
import { identity } from './vip-lines.ts';
import { causeOf, vipFailure } from './vip-trouble.ts';

/** A VIP whose loss was a fault of this node so short a time ago, and which has come back all the same, is nowhere to be had. */
const MEMORY_MS = 300_000;

/**
 * Judges the VIPs of one group that are not on this host though they were asked to be. What works goes on: what this host has
 * had and cannot have now is a fault once, so that the peer may try. Where the VIPs come back nevertheless, the peer cannot
 * have it either, and the others are served without it.
 */
export class VipLosses {
  readonly #complaints: Complaints;
  /** VIPs that have been on this host: it can have them. */
  readonly #known = new Set<string>();
  /** Of those that are missing: until when that is no fault again. */
  readonly #lostUntilMs = new Map<string, number>();

  constructor(complaints: Complaints) {
    this.#complaints = complaints;
  }

  /** @throws OperatorError where it is a fault, or nothing at all is there; the rest is left aside with a warning */
  judge(missing: readonly VipConfig[], present: readonly VipConfig[], answer: IpAnswer): void {
    const now = monotonicMs();
    for (const vip of present) {
      this.#known.add(identity(vip));
      this.#lostUntilMs.delete(identity(vip));
      this.#complaints.forget(asideAbout(vip));
    }
    const known = missing.map(identity).filter((name) => this.#known.has(name));
    const isNews = known.some((name) => (this.#lostUntilMs.get(name) ?? 0) <= now);
    for (const name of known) this.#lostUntilMs.set(name, now + MEMORY_MS);
    if (missing.length > 0 && present.length === 0)
      throw vipFailure(missing.map(identity), 'is not there', answer);
    if (isNews) throw vipFailure(known, 'is not there', answer);
    for (const vip of missing)
      this.#complaints.add(
        asideAbout(vip),
        `${identity(vip)} is left aside, tried again and again${causeOf(answer)}`,
      );
  }

  /** It is not configured any more. */
  forget(vip: VipConfig): void {
    this.#known.delete(identity(vip));
    this.#lostUntilMs.delete(identity(vip));
    this.#complaints.forget(asideAbout(vip));
  }
}

function asideAbout(vip: VipConfig): string {
  return `aside ${identity(vip)}`;
}

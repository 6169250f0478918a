import type { VipConfig } from '../common/model.ts';
import { forwardRules, removeRules } from './forward-rules.ts';
import { NftShell } from './nft-shell.ts';

/** `nft` answers within some milliseconds; a takeover waits for it, so not for long. */
const TIMEOUT_MS = 1_000;
/** Nothing waits for a check; the first one loads modules of the kernel, on a machine that may be booting. */
const CHECK_TIMEOUT_MS = 15_000;

/** The rules of one VIP group that send on to the peer what belongs to its connections; see `forwardRules`. */
export class Forwarder {
  readonly #group: string;
  readonly #peerAddress: string;
  readonly #knowsFlows: () => boolean;
  readonly #nft = new NftShell();
  #forwarding = false;
  /** The latest run of `nft`; they happen one after the other. */
  #latest: Promise<unknown> = Promise.resolve();

  /** @param knowsFlows whether this host's kernel balances flows itself, see `forwardRules` */
  constructor(group: string, peerAddress: string, knowsFlows: () => boolean) {
    this.#group = group;
    this.#peerAddress = peerAddress;
    this.#knowsFlows = knowsFlows;
  }

  /** Settles when what was asked for is done, or has failed; never rejects. */
  get settled(): Promise<unknown> {
    return this.#latest;
  }

  /**
   * Makes and removes the very rules in one transaction: what the kernel lacks shows now, not at a switchover.
   *
   * @throws OperatorError with the cause
   */
  async check(vips: readonly VipConfig[]): Promise<void> {
    // What is in force stays; a check of rules that are there already tells nothing new.
    if (!this.#forwarding) await this.#run(this.#rules(vips) + removeRules(this.#group), CHECK_TIMEOUT_MS);
  }

  forward(vips: readonly VipConfig[]): Promise<void> {
    this.#forwarding = true;
    return this.#run(this.#rules(vips));
  }

  /** Without rules it does nothing. */
  unforward(): Promise<void> {
    if (!this.#forwarding) return Promise.resolve();
    this.#forwarding = false;
    return this.#run(removeRules(this.#group));
  }

  /** Rules that are in force stay: `unforward` first. */
  close(): void {
    this.#nft.close();
  }

  #rules(vips: readonly VipConfig[]): string {
    return forwardRules(this.#group, vips, this.#peerAddress, this.#knowsFlows());
  }

  #run(script: string, timeoutMs = TIMEOUT_MS): Promise<void> {
    const run = this.#latest.then(() => this.#nft.run(script, timeoutMs));
    this.#latest = run.catch(() => {});
    return run;
  }
}

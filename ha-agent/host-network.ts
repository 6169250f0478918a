import type { VipConfig } from '../common/model.ts';

/**
 * What the agent does to its machine's network, so that all else can run on a fake. No method waits for the
 * agent and none blocks it.
 */
export interface HostNetwork {
  /**
   * Removes VIPs that an earlier run left behind, and finds out whether addresses can be changed at all.
   *
   * @throws OperatorError when a tool or the permission is missing
   */
  open(): Promise<void>;
  /** Adds or renews all VIPs with a short lease, and looks whether they are there. Rejects with the cause. */
  addVips(): Promise<void>;
  /** Removes all VIPs, and looks whether they are gone. Rejects with the cause. */
  removeVips(): Promise<void>;
  /** Tells the neighbours once on which machine the VIPs are. Fire and forget. */
  announce(): void;
  /** Replaces the VIPs and the watched interfaces. VIPs that are no longer listed are removed. */
  configure(vips: readonly VipConfig[], watched: readonly string[]): Promise<void>;
  /** VIPs that were there at the last look, as `address/prefix`. */
  readonly held: ReadonlySet<string>;
  /** Limits that an operator should know of, one line each. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

export interface HostNetworkEvents {
  /** A watched interface came or went (also once for each of them after `open`). `why` says what is wrong. */
  onInterface(name: string, up: boolean, why: string): void;
  /** Something failed that the agent can live with. */
  onTrouble(text: string): void;
}

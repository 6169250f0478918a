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
  /**
   * Like `removeVips`, but the addresses stay on the loopback interface, with a lease, where no neighbour sees them,
   * so that open connections go on.
   *
   * @returns whether they stay; if not, it is told as trouble
   */
  parkVips(): Promise<boolean>;
  /** Renews the lease of the parked VIPs. */
  renewParked(): Promise<void>;
  /** Removes the parked VIPs and undoes what parking changed. Adding or removing the VIPs does that too. */
  unparkVips(): Promise<void>;
  /** Sends on to the peer what belongs to connections that this host does not know. `addVips` waits for it. */
  forward(): Promise<void>;
  unforward(): Promise<void>;
  /** Tells the neighbours once on which machine the VIPs are. Fire and forget. */
  announce(): void;
  /** Replaces the VIPs and the watched interfaces. VIPs that are no longer listed are removed. */
  configure(vips: readonly VipConfig[], watched: readonly string[]): Promise<void>;
  /** VIPs that were there at the last look, as `address/prefix`. */
  readonly held: ReadonlySet<string>;
  /** Whether this host can park and forward; known after `open`. */
  readonly secondChance: boolean;
  /** Limits that an operator should know of, one line each. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

export interface HostNetworkEvents {
  /** A watched interface came or went (also once for each of them after `open`). `why` says what is wrong. */
  onInterface(name: string, up: boolean, why: string): void;
  /**
   * Settings of the host differ for a while from what they were: `interface/setting=value` with the former values.
   * Empty: they are as before.
   */
  onSettings(former: readonly string[]): void;
  /** Something failed that the agent can live with. */
  onTrouble(text: string): void;
}

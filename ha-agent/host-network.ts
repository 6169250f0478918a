import type { GroupConfig } from '../common/model.ts';
import type { StepTime, VipAnswer } from './election-types.ts';

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
  /** The network of a group; the same object for as long as the group is configured. */
  group(name: string): GroupNetwork;
  /**
   * Replaces groups and watched interfaces. What is no longer listed is removed, after what is new has come where the VIPs
   * are held.
   *
   * @throws OperatorError when a new VIP cannot be had; all is as before then
   */
  configure(config: NetworkConfig): Promise<void>;
  /** Limits that an operator should mend, one line each. */
  readonly warnings: readonly string[];
  /** Limits that go with the config, one line each. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

export interface NetworkConfig {
  readonly groups: readonly GroupConfig[];
  /** Interfaces whose state is told. */
  readonly watched: readonly string[];
  /** A frontend may have the kernel engine: flows to the VIPs that this host's kernel knows are its own. */
  readonly kernelFlows?: boolean | undefined;
}

/** Who has answered a question to the neighbours. */
export interface Probed {
  /** For VIPs and neighbours alike; nothing of this host. */
  readonly answers: readonly VipAnswer[];
  /** Link-layer addresses of machines that answer for addresses that nobody has. */
  readonly proxies: readonly string[];
}

/** What one group of VIPs does to the network. */
export interface GroupNetwork {
  /**
   * Adds all VIPs with a short lifetime, and looks whether they are there; then the routes. Rejects with the cause. A route
   * that fails is only told as a warning.
   *
   * @returns what took how long
   * @throws OperatorError with code `VIP_FAILED` where the host was asked and a VIP is not there
   */
  addVips(): Promise<readonly StepTime[]>;
  /**
   * Renews the lifetime of all VIPs, within a second or not at all. Waits for nothing else that this host does.
   *
   * @throws OperatorError as `addVips` does; with another code it is not known whether a VIP is there
   */
  renewVips(): Promise<void>;
  /**
   * Asks the neighbours who answers for the VIPs, and for other addresses of their network. Takes some milliseconds.
   *
   * @param neighbours addresses whose answer shows that the network carries frames of this host
   * @returns who answered
   * @throws OperatorError when nobody could be asked
   */
  probe(neighbours: readonly string[]): Promise<Probed>;
  /**
   * Asks the neighbours whether another machine answers for the VIPs, and says so as trouble and as a warning. Before
   * the VIPs are added here: nothing waits for it, and nothing else follows from it.
   */
  lookForRivals(): void;
  /**
   * Runs what `addVips` runs, without a VIP, so that its programs and its code are warm when it matters.
   *
   * @throws OperatorError: `addVips` would fail now as well
   */
  rehearse(): Promise<void>;
  /** Removes all routes and VIPs, and looks whether the VIPs are gone. Rejects with the cause. */
  removeVips(): Promise<void>;
  /**
   * Like `removeVips`, but the addresses stay on the loopback interface, with a lifetime, where no neighbour sees them,
   * so that open connections go on.
   *
   * @returns whether they stay; if not, it is told as trouble
   */
  parkVips(): Promise<boolean>;
  /** Renews the lifetime of the parked VIPs. */
  renewParked(): Promise<void>;
  /** Removes the parked VIPs and undoes what parking changed. Adding or removing the VIPs does that too. */
  unparkVips(): Promise<void>;
  /** Sends on to the peer what belongs to connections that this host does not know. `addVips` waits shortly for it. */
  forward(): Promise<void>;
  unforward(): Promise<void>;
  /** Tells the neighbours once on which machine the VIPs are. Fire and forget. */
  announce(): void;
  /** VIPs that were there at the last look, as `address/prefix`. */
  readonly held: ReadonlySet<string>;
  /**
   * Addresses of VIPs that are on this host and not by this agent, as `address/prefix dev interface`: another program has
   * added them, and they could not be removed.
   */
  readonly copies: readonly string[];
  /** Neighbours that this host knows by itself: its default gateways now. */
  readonly gateways: readonly string[];
  /** Whether this host can park and forward, as far as it is known; see `HostNetworkEvents.onAbility`. */
  readonly secondChance: boolean;
}

export interface HostNetworkEvents {
  /** A watched interface came or went (also once for each of them after `open`). `why` says what is wrong. */
  onInterface(name: string, up: boolean, why: string): void;
  /**
   * Settings of the host differ for a while from what they were: `interface/setting=value` with the former values.
   * Empty: they are as before.
   */
  onSettings(former: readonly string[]): void;
  /** The processes that add addresses and routes from now on; once they are gone, none comes any more. */
  onAdders(pids: readonly number[]): void;
  /** What routes of VIPs have taken the place of: lines for `ip` that bring it back. Empty: nothing. */
  onFormerRoutes(lines: readonly string[]): void;
  /** `secondChance` of a group may be another one than before. */
  onAbility(): void;
  /** Addresses of provider `exec` that a command has brought to this host, or is about to. */
  onTold(addresses: readonly string[]): void;
  /** Something failed that the agent can live with. */
  onTrouble(text: string): void;
}

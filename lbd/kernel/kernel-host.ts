import type { Config } from '../../common/model.ts';
import type { Gate } from '../shared/shared.ts';
import type { HostFacts } from './choice.ts';

/**
 * VIPs whose segments of flows that this kernel does not know are dropped, see `Young`: for so many milliseconds from now,
 * or with null until they are told of again.
 */
export type YoungVips = Readonly<Record<string, number | null>>;

/** What the kernel is to do for the frontends of a config: names and numbers only, the rest stands in the config. */
export interface KernelOrder {
  readonly config: Config;
  /** Frontends that the kernel is to have, each once. */
  readonly frontends: readonly string[];
  /** Of each backend of their pools, by `pool/backend`; what is missing gets nobody. Weights are 0 to 256. */
  readonly gates: Readonly<Record<string, readonly [gate: Gate, weight: number]>>;
  readonly young: YoungVips;
}

export interface KernelHostEvents {
  /** The latest order is in force. */
  onLoaded(): void;
  /** What failed before may work now: all that is wanted has to be said again. */
  onUp(): void;
  tell(level: 'info' | 'warn', text: string): void;
}

/** Whoever may change the kernel of this host, for the frontends of the kernel engine. */
export interface KernelHost {
  /** The rules were in force once in this run: their base chains must stay, for flows that are open. */
  readonly began: boolean;
  /** Looks at the host. Never rejects: what cannot be found out counts as missing. */
  facts(): Promise<HostFacts>;
  /**
   * Puts an order in force, and keeps it so. Never rejects: once rules are in force, a failure leaves them, is in
   * `warnings`, and is tried again.
   *
   * @returns why nothing is in force; undefined: something is
   */
  keep(order: KernelOrder): Promise<string | undefined>;
  /** Replaces the VIPs of the latest order; in force soon where rules are. */
  setYoung(vips: YoungVips): void;
  /**
   * Ends the flows of a backend of a frontend of the latest order, and resets their clients.
   *
   * @returns how many there were
   * @throws OperatorError
   */
  cut(frontend: string, backend: string): Promise<number>;
  /**
   * Removes the table of an earlier run, unless another lbd of this host uses it.
   *
   * @returns whether it was seen to
   */
  removeLeftover(): Promise<boolean>;
  /** What does not work, one line each. */
  warnings(): string[];
  /** The rules stay. */
  close(): Promise<void>;
}

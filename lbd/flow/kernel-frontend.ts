/** A frontend whose bytes the kernel moves, as far as its flows can be told from those of others. */
export interface KernelFrontend {
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  /** Ranges of ports, both ends included, in ascending order. */
  readonly ports: readonly (readonly [first: number, last: number])[];
  /** Addresses that clients come to: VIPs or bind addresses, canonical. Empty: every address of this host (no cluster). */
  readonly addresses: readonly string[];
  /** Address that backends see: `vip` that which the client came to, `host` one of this host's, `none` the client's. */
  readonly source?: 'vip' | 'host' | 'none';
  readonly backends: readonly { readonly name: string; readonly address: string; readonly port: number }[];
}

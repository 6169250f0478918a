import type { Algorithm } from '../../common/model.ts';
import type { KernelFrontend } from '../flow/kernel-frontend.ts';

/** A frontend in the kernel, with all that its rules are made of. All its addresses and backends have one family. */
export interface KernelService extends KernelFrontend {
  readonly family: 4 | 6;
  readonly pool: string;
  readonly source: 'vip' | 'host' | 'none';
  readonly onBackendDown: 'cut' | 'keep';
}

/** A pool of kernel services; one family. */
export interface KernelPool {
  readonly name: string;
  readonly family: 4 | 6;
  readonly algorithm: Algorithm;
  /** Source stickiness: so long since the client's latest connection, by so many bits of IPv6; undefined: none. */
  readonly stick: { readonly expireMs: number; readonly prefix6: number } | undefined;
  readonly backends: readonly KernelBackend[];
}

export interface KernelBackend {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** For new clients, 0 to 256; 0: none. */
  readonly weight: number;
  /** Clients that are stuck to it may come. */
  readonly stuck: boolean;
}

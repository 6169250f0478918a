import { BlockList } from 'node:net';
import type { NetworkConfig } from '../../common/model.ts';

/** Whether an address is in one of the networks of a list, which a reload may replace. */
export class NetworkSet {
  #networks = new BlockList();
  /** What `#networks` was made of. */
  #madeOf: readonly NetworkConfig[] | undefined;

  /** @param address canonical, IPv4 as such; empty: unknown */
  has(networks: readonly NetworkConfig[], address: string): boolean {
    if (networks.length === 0 || address === '') return false;
    if (this.#madeOf !== networks) {
      this.#madeOf = networks;
      this.#networks = new BlockList();
      for (const network of networks)
        this.#networks.addSubnet(network.address, network.prefix, network.family === 4 ? 'ipv4' : 'ipv6');
    }
    return this.#networks.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
  }
}

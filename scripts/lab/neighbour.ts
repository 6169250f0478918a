import { INTERFACE, NODES, type NodeName, VIP } from './hosts.ts';
import type { Lab } from './lab.ts';

/** The client's ARP entry of the VIP. */
export class Neighbour {
  readonly #lab: Lab;
  readonly #macs: ReadonlyMap<string, NodeName>;

  private constructor(lab: Lab, macs: ReadonlyMap<string, NodeName>) {
    this.#lab = lab;
    this.#macs = macs;
  }

  /** Reads the nodes' addresses now: later a fault may have taken away what is needed for that. */
  static async of(lab: Lab): Promise<Neighbour> {
    const macs = NODES.map(async (node) => [await macOf(lab, node), node] as const);
    return new Neighbour(lab, new Map(await Promise.all(macs)));
  }

  /** Which node the entry points to; undefined: none of them, or there is none. */
  async now(): Promise<NodeName | undefined> {
    const entry = await this.#lab.exec('client', ['ip', 'neigh', 'show', VIP]);
    const mac = /lladdr (\S+)/.exec(entry)?.[1];
    return mac === undefined ? undefined : this.#macs.get(mac);
  }
}

/** Makes the client believe that a node has the VIP, as after that node's announcement. */
export async function mislead(lab: Lab, node: NodeName): Promise<void> {
  const entry = ['lladdr', await macOf(lab, node), 'dev', INTERFACE, 'nud', 'reachable'];
  await lab.exec('client', ['ip', 'neigh', 'replace', VIP, ...entry]);
}

async function macOf(lab: Lab, node: NodeName): Promise<string> {
  const link = await lab.exec(node, ['ip', '-o', 'link', 'show', INTERFACE]);
  const mac = /link\/ether (\S+)/.exec(link)?.[1];
  if (mac === undefined) throw new Error(`${INTERFACE} of ${node} has no address: ${link}`);
  return mac;
}

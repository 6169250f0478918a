import type { PeerReport } from '../../ha-agent/election-types.ts';
import { Exchange } from '../../ha-agent/exchange.ts';
import { createIdentity } from '../../ha-agent/heartbeat.ts';

const KEY = Buffer.alloc(32, 1);
export const ADDRESS = { lb1: '127.0.0.1', lb2: '127.0.0.2' } as const;
export const REPORT: PeerReport = {
  ...{ role: 'standby', priority: 100, epoch: 3, intervalMs: 100, healthy: true },
  ...{ request: false, probe: false, finishing: false, forwards: false },
};

/** One end of the conversation, and all that it heard: `group role` of heartbeats, `group hello`. */
export class End {
  readonly exchange: Exchange;
  readonly heard: string[] = [];
  readonly troubles: string[] = [];
  #told = () => {};

  constructor(name: 'lb1' | 'lb2', groups: readonly string[]) {
    const peer = name === 'lb1' ? 'lb2' : 'lb1';
    const hear = (text: string) => {
      this.heard.push(text);
      this.#told();
    };
    this.exchange = new Exchange({
      identity: createIdentity(KEY, 'shop', name, peer),
      selfAddress: ADDRESS[name],
      peerAddress: ADDRESS[peer],
      now: () => performance.now(),
      onHeartbeat: (group, { role }) => hear(`${group} ${role}`),
      onHello: (group) => hear(`${group} hello`),
      onRefused: () => {},
      onPath: () => {},
      onTrouble: (text) => this.troubles.push(text),
      onPresence: (why) => hear(`presence: ${why}`),
      onTwin: ({ role }) => hear(`twin ${role}`),
    });
    this.configure(groups);
  }

  configure(groups: readonly string[]): void {
    this.exchange.configure({ digest: 'ab'.repeat(32), sectionDigests: '', groups, deadTimeMs: 300 });
  }

  send(group: string, role: PeerReport['role'] = 'standby'): Promise<void> {
    return this.exchange.send(group, { ...REPORT, role });
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#told = resolve));
  }
}

/** Until both ends know that the other one is alive, for each of these groups. */
export async function meet(lb1: End, lb2: End, groups: readonly string[]): Promise<void> {
  for (const group of groups) {
    await lb1.send(group);
    await lb2.until(() => lb2.heard.includes(`${group} hello`));
    await lb2.send(group);
    await lb1.until(() => lb1.heard.includes(`${group} standby`));
    await lb1.send(group);
    await lb2.until(() => lb2.heard.includes(`${group} standby`));
  }
}

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { monotonicMs } from '../../common/events.ts';
import { NODES, type NodeName, VIP } from './hosts.ts';
import type { Lab } from './lab.ts';
import { PATIENCE_MS } from './wait.ts';

/** A node got or lost the VIP, at a monotonic time in milliseconds. */
export interface OwnerChange {
  readonly atMs: number;
  readonly node: NodeName;
  readonly held: boolean;
}

/**
 * Watches who holds the VIP through the kernel's own messages. One reader hears all hosts through one netlink socket,
 * so the order of the changes is the true one; their times are those of arrival here, about a millisecond late.
 */
export class OwnershipWatch {
  readonly changes: OwnerChange[] = [];
  readonly #reader: ChildProcess;
  readonly #held: Record<NodeName, boolean> = { lb1: false, lb2: false };
  readonly #listeners = new Set<() => void>();

  private constructor(reader: ChildProcess) {
    this.#reader = reader;
  }

  /** Starts the reader and waits until it has shown that it listens. @throws Error when it does not run */
  static async start(lab: Lab): Promise<OwnershipWatch> {
    const ids = await namespaceIds(lab);
    const argv = ['ip', '-o', 'monitor', 'address', 'all-nsid'];
    const reader = lab.spawn('switch', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    const watch = new OwnershipWatch(reader);
    let listens = false;
    createInterface({ input: reader.stdout! }).on('line', (line) => {
      listens = true;
      const [, id, text] = /^\[nsid (\d+)\](.*)$/.exec(line) ?? [];
      const node = ids.get(Number(id));
      if (node !== undefined && text !== undefined) watch.#read(node, text);
    });
    // A change that harms nobody, again and again until the reader reports one.
    while (!listens) {
      if (reader.exitCode !== null || reader.signalCode !== null) throw new Error('ip monitor has ended');
      for (const verb of ['add', 'del'])
        await lab.exec('lb1', ['ip', 'addr', verb, '127.84.0.1/32', 'dev', 'lo']);
    }
    return watch;
  }

  /** The node is without power: whatever its namespace says, it holds nothing. */
  powerOff(node: NodeName): void {
    this.#set(node, false);
  }

  /** Nodes that hold the VIP now. */
  holders(): NodeName[] {
    return NODES.filter((node) => this.#held[node]);
  }

  /**
   * Waits until the condition holds; it is asked again at every change.
   *
   * @throws Error when it does not hold within `timeoutMs`
   */
  until(what: string, condition: () => boolean, timeoutMs = PATIENCE_MS): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const check = () => {
        if (condition()) finish(resolve);
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`not within ${timeoutMs} ms: ${what}; ${this.describe()}`))),
        timeoutMs,
      );
      const finish = (then: () => void) => {
        clearTimeout(timer);
        this.#listeners.delete(check);
        then();
      };
      this.#listeners.add(check);
    });
  }

  /** Waits until the condition holds, but not longer than `timeoutMs`. @returns whether it holds */
  within(timeoutMs: number, condition: () => boolean): Promise<boolean> {
    return this.until('', condition, timeoutMs).then(
      () => true,
      () => false,
    );
  }

  describe(): string {
    return `the VIP is held by ${this.holders().join(' and ') || 'no node'}`;
  }

  async close(): Promise<void> {
    if (this.#reader.exitCode !== null || this.#reader.signalCode !== null) return;
    const gone = once(this.#reader, 'exit');
    this.#reader.kill();
    await gone;
  }

  #read(node: NodeName, line: string): void {
    // On lo no neighbour sees it: a former active node lets its open connections finish there.
    if (!line.includes(`inet ${VIP}/`) || / lo /.test(line)) return;
    this.#set(node, !line.startsWith('Deleted'));
  }

  #set(node: NodeName, held: boolean): void {
    if (this.#held[node] === held) return;
    this.#held[node] = held;
    this.changes.push({ atMs: monotonicMs(), node, held });
    for (const listener of [...this.#listeners]) listener();
  }
}

/** What the switch calls the nodes' namespaces: each cable has the id of that at its other end. */
async function namespaceIds(lab: Lab): Promise<Map<number, NodeName>> {
  const links = await lab.exec('switch', ['ip', '-o', 'link', 'show']);
  return new Map(
    NODES.map((node) => {
      const id = new RegExp(`^\\d+: ${node}@.* link-netnsid (\\d+)`, 'm').exec(links)?.[1];
      if (id === undefined) throw new Error(`the cable of ${node} has no namespace id: ${links}`);
      return [Number(id), node];
    }),
  );
}

/** @returns how long two nodes held the VIP at the same time, in milliseconds, up to `endMs` */
export function twoOwnersMs(changes: readonly OwnerChange[], endMs: number): number {
  const held = new Set<NodeName>();
  let sinceMs = 0;
  let total = 0;
  for (const change of [...changes, { atMs: endMs, node: undefined, held: false }]) {
    if (held.size > 1) total += change.atMs - sinceMs;
    sinceMs = change.atMs;
    if (change.node === undefined) break;
    if (change.held) held.add(change.node);
    else held.delete(change.node);
  }
  return total;
}

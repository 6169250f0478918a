import type { Datagram } from './network.ts';
import type { Pair } from './pair.ts';

/** Datagrams that it keeps. */
const KEPT = 400;

interface Recorded {
  readonly source: string;
  readonly datagram: Datagram;
}

/**
 * Somebody in the network who records all that passes, and plays any of it back at any time to any node, as often as it
 * likes, but to one that is cut off from everybody. What it says about a node itself a node does not believe, so each is
 * told everything.
 */
export class Adversary {
  readonly #pair: Pair;
  readonly #kept: Recorded[] = [];
  #seen = 0;

  constructor(pair: Pair) {
    this.#pair = pair;
    pair.network.onSent = (from, datagram) => this.#record({ source: from.address, datagram });
  }

  /** Plays something back about so often, for ever. */
  begin(perSecond: number): void {
    const { sim, random } = this.#pair;
    const act = () => {
      // One old datagram, or a run of them as it was.
      const count = random() < 0.7 ? 1 : 1 + Math.floor(random() * 20);
      const from = Math.floor(random() * this.#kept.length);
      for (const recorded of this.#kept.slice(from, from + count)) this.#play(recorded);
      sim.after((random() * 2_000) / perSecond, act);
    };
    sim.after(random() * 1_000, act);
  }

  /** The old ones stay as well as the new ones do: each has the same chance. */
  #record(recorded: Recorded): void {
    this.#seen++;
    if (this.#kept.length < KEPT) this.#kept.push(recorded);
    else {
      // Source: reservoir sampling, A. Waterman's algorithm R.
      const at = Math.floor(this.#pair.random() * this.#seen);
      if (at < KEPT) this.#kept[at] = recorded;
    }
  }

  #play({ source, datagram }: Recorded): void {
    const { network, random, sim } = this.#pair;
    for (const machine of network.machines) {
      if (random() < 0.3) continue;
      // To its own address and from anywhere, where it was unicast.
      const to = datagram.port === 7471 ? machine.address : datagram.to;
      const played = { ...datagram, to, fromPort: random() < 0.5 ? datagram.fromPort : 5_000 };
      sim.after(random() * 3, () => {
        if (machine !== this.#pair.isolated && machine.kernel.works('eth0'))
          network.deliver(source, machine, played);
      });
    }
  }
}

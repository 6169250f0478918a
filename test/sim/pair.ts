import { type ConfigChoice, VIPS, WITNESS_ADDRESS } from './config.ts';
import { Machine } from './machine.ts';
import { LANES, type Link, Network } from './network.ts';
import { Node } from './node.ts';
import { randomFrom, Simulation } from './simulation.ts';
import { setSurroundings } from './stand-in/current.ts';

/** Link-layer address of the machine with the witness's address. */
const GATEWAY = '02:00:00:00:00:01';

export interface PairOptions {
  readonly seed: number;
  readonly choice?: ConfigChoice;
  /** Of the second node, where it differs. */
  readonly otherChoice?: ConfigChoice;
  readonly link?: Partial<Link>;
  /** Shares by which the clocks of both run fast. */
  readonly drift?: readonly [number, number];
}

/** Two nodes and the network between them. */
export class Pair {
  readonly sim = new Simulation();
  readonly network = new Network();
  /** Of the story that is played. */
  readonly random = (): number => this.#dice();
  #dice: () => number;
  readonly nodes: readonly [Node, Node];
  /** What happened in the story that is played, and what must not be. */
  lines: string[] = [];
  problems: string[] = [];
  /** Clients do not reach this machine. */
  isolated: Machine | undefined;
  /** Machines that no witness answers. */
  readonly deaf = new Set<Machine>();
  /** Announcements of VIPs so far, by machine name. */
  readonly announced = new Map<string, number>();
  /** VIPs of the config. */
  readonly vips: readonly string[];

  constructor({ seed, choice = {}, otherChoice = choice, link = {}, drift = [0, 0] }: PairOptions) {
    this.#dice = randomFrom(seed);
    this.vips = VIPS.slice(0, choice.groups ?? 1);
    const log = (line: string) => this.log(line);
    const make = (i: 0 | 1, config: ConfigChoice) => {
      const machine = new Machine(this.sim, `lb${i + 1}`, `192.168.56.1${i + 1}`, this.random, drift[i], log);
      for (const [device, address] of [
        ['lo', '127.0.0.1'],
        ['eth0', machine.address],
        ['eth1', `10.1.0.1${i + 1}`],
      ] as const)
        machine.kernel.addresses.set(`${device} ${address}/24`, {
          device,
          address,
          prefix: 24,
          untilMs: Number.POSITIVE_INFINITY,
        });
      machine.kernel.askNetwork = (address, device) => this.#answerOf(machine, address, device);
      this.network.add(machine);
      return new Node(machine, this.network, config, (text) => this.problem(text));
    };
    const a = make(0, choice);
    const b = make(1, otherChoice);
    a.peer = b;
    b.peer = a;
    a.lbd.peer = b.lbd;
    b.lbd.peer = a.lbd;
    this.nodes = [a, b];
    for (const { machine } of this.nodes)
      for (const lane of LANES) Object.assign(this.network.link(machine, lane), link);
    setSurroundings({
      network: this.network,
      lbdOf: (machine) => this.of(machine).lbd,
      witnessAnswers: (machine) => !this.deaf.has(machine) && machine.kernel.works('eth0'),
      announced: ({ name }) => this.announced.set(name, (this.announced.get(name) ?? 0) + 1),
      called: (machine, command) => machine.log(`calls ${command.join(' ')}`),
    });
  }

  /** The next story begins: with a random source and records of its own. */
  turnTo(seed: number): void {
    this.#dice = randomFrom(seed);
    this.lines = [];
    this.problems = [];
  }

  of(machine: Machine): Node {
    return this.nodes[0].machine === machine ? this.nodes[0] : this.nodes[1];
  }

  /** Who answers clients for a VIP. */
  owners(vip = VIPS[0] as string): Node[] {
    return this.nodes.filter(({ machine }) => machine !== this.isolated && machine.kernel.answersFor(vip));
  }

  start(): void {
    for (const node of this.nodes) {
      node.lbd.begin();
      this.sim.at(this.random() * 300, () => node.start());
    }
  }

  /** Of the gateway, or of the other machine, whose kernel answers also where no process runs. */
  #answerOf(asking: Machine, address: string, device: string): string | undefined {
    if (address === WITNESS_ADDRESS) return this.deaf.has(asking) ? undefined : GATEWAY;
    const { network } = this;
    const other = network.peerOf(asking);
    if (!network.passes(asking, 'arp') || !network.passes(other, 'arp')) return undefined;
    return other.kernel.answersFor(address, device) ? other.kernel.mac(2) : undefined;
  }

  /** Nothing of a machine reaches anybody, and nothing reaches it, though its interface does not tell. */
  isolate(machine: Machine, isCut: boolean): void {
    this.log(`  ${machine.name} is ${isCut ? 'cut off from everybody' : 'back'}`);
    for (const { machine: from } of this.nodes) for (const link of this.network.links(from)) link.cut = isCut;
    if (isCut) this.deaf.add(machine);
    else this.deaf.delete(machine);
    this.isolated = isCut ? machine : undefined;
    machine.version++;
  }

  log(line: string): void {
    this.lines.push(`${this.sim.now.toFixed(1).padStart(9)} ${line}`);
  }

  problem(text: string): void {
    this.problems.push(`${text} at ${this.sim.now.toFixed(1)}`);
    this.log(`!! ${text}`);
  }
}

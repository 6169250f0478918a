import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { OperatorError } from '../../common/errors.ts';
import { type Anchor, anchorAlive, netnsOf, startHolder } from './holder.ts';
import {
  ADDRESS,
  address6,
  CLIENT_ADDRESSES,
  HOSTS,
  type Host,
  INTERFACE,
  isHost,
  type Place,
  PREFIX,
} from './hosts.ts';
import { type LabMode, labMissing, labMode, TOOL_PATH } from './missing.ts';
import { signalAll, signalPid } from './signals.ts';

/** Root of the source tree. */
export const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'node_modules/.bin');
/** Programs on the hosts run with the tree's own Node, whatever the machine has. */
export const NODE = join(BIN, 'node');

/** A process that has joined a control group goes on as what follows. */
const JOIN = 'echo $$ >"$0" && exec "$@"';

/** What a later process needs to find the lab again; plain JSON. */
export interface LabState {
  readonly mode: LabMode;
  readonly anchors: Readonly<Record<Place, Anchor>>;
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Hosts as network namespaces on one bridge: real multicast, ARP, `ip addr` and traffic, nothing of which leaves
 * the namespaces. It ends with the process that made it, however that process ends.
 */
export class Lab {
  readonly state: LabState;
  /** Undefined where the lab outlives this process. */
  readonly #holder: ChildProcess | undefined;
  readonly #children = new Set<ChildProcess>();
  /** Control groups that programs of a host join when they start, each by its list of members. */
  readonly #groups = new Map<Place, string>();

  private constructor(state: LabState, holder: ChildProcess | undefined) {
    this.state = state;
    this.#holder = holder;
  }

  /**
   * Builds the hosts and their cables.
   *
   * @param options.detached the lab stays when this process ends, until `down`
   * @throws OperatorError naming what the machine lacks
   */
  static async up(options: { detached?: boolean } = {}): Promise<Lab> {
    const missing = labMissing();
    const mode = labMode();
    if (missing !== undefined || mode === undefined)
      throw new OperatorError('LAB_MISSING', missing ?? 'the lab needs network namespaces');
    const { process: holder, anchors } = await startHolder(mode, ROOT, options.detached === true);
    const lab = new Lab({ mode, anchors }, options.detached ? undefined : holder);
    try {
      await lab.#cable();
    } catch (error) {
      await lab.down();
      throw error;
    }
    if (options.detached) {
      holder.unref();
      for (const stream of [holder.stdin, holder.stdout, holder.stderr]) stream?.destroy();
    }
    return lab;
  }

  /** @returns the lab that another process built, or undefined when it is gone */
  static attach(state: LabState): Lab | undefined {
    return Object.values(state.anchors).every(anchorAlive) ? new Lab(state, undefined) : undefined;
  }

  /** The command line that runs `argv` on a host by a chain of `exec`: the pid is the program's own. */
  enter(place: Place, argv: readonly string[], cwd = ROOT): string[] {
    const user = this.state.mode === 'user' ? ['-U', '--preserve-credentials'] : [];
    const target = String(this.state.anchors[place].pid);
    // Entering a namespace clears the parent-death signal, so it is set after that; and a test runner loads modules of
    // its own into every Node that a test starts.
    const guard = ['setpriv', '--pdeathsig', 'KILL', '--', 'env', '-u', 'NODE_OPTIONS', '-C', cwd];
    const group = this.#groups.get(place);
    const join = group === undefined ? [] : ['sh', '-c', JOIN, group];
    return [...join, 'nsenter', '-t', target, ...user, '-n', '-m', '--', ...guard, ...argv];
  }

  /** @param members what a control group keeps its processes in; undefined: programs of the host join none any more */
  joinGroup(place: Place, members: string | undefined): void {
    if (members === undefined) this.#groups.delete(place);
    else this.#groups.set(place, members);
  }

  /** The path by which this process reaches a file of the hosts, such as one below SHARED. */
  outside(path: string): string {
    return `/proc/${this.state.anchors.switch.pid}/root${path}`;
  }

  /** Starts a program on a host. It is killed when this process ends. */
  spawn(
    place: Place,
    argv: readonly string[],
    options: Omit<SpawnOptions, 'cwd'> & { cwd?: string } = {},
  ): ChildProcess {
    const [file, ...args] = this.enter(place, argv, options.cwd);
    const env = { ...process.env, PATH: `${BIN}${delimiter}${TOOL_PATH}`, ...options.env };
    // A session of its own: Ctrl-C in a terminal reaches the driver, which then ends all in order.
    const child = spawn(file!, args, { ...options, env, cwd: '/', detached: true });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Runs a program on a host to its end (at most two minutes); never throws because of its exit code. */
  run(place: Place, argv: readonly string[], input = ''): Promise<Output> {
    const [file, ...args] = this.enter(place, argv);
    const env = { ...process.env, PATH: `${BIN}${delimiter}${TOOL_PATH}` };
    return new Promise((resolve) => {
      const options = { env, timeout: 120_000, maxBuffer: 16 * 1024 * 1024 };
      const child = execFile(file!, args, options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      });
      child.stdin!.on('error', () => {});
      child.stdin!.end(input);
    });
  }

  /** Runs a program on a host. @returns its standard output @throws Error when its exit code is not 0 */
  async exec(place: Place, argv: readonly string[], input = ''): Promise<string> {
    const { code, stdout, stderr } = await this.run(place, argv, input);
    if (code !== 0) throw new Error(`${place}: ${argv.join(' ')}: exit ${code}: ${stderr.trim()}`);
    return stdout;
  }

  /** Pulls the host's cable: no carrier on either end. */
  async cut(host: Host): Promise<void> {
    await this.exec('switch', ['ip', 'link', 'set', host, 'down']);
  }

  async heal(host: Host): Promise<void> {
    await this.exec('switch', ['ip', 'link', 'set', host, 'up']);
  }

  /**
   * Loses what goes from one host to another (not the way back), in the switch.
   *
   * @param match more nftables conditions, such as `udp dport 7470`; all IP traffic without
   * @returns a function that mends it
   */
  partition(from: Host, to: Host, match = ''): Promise<() => Promise<void>> {
    return this.drop(`iifname "${from}" oifname "${to}" ${match}`);
  }

  /**
   * Loses a part of what a host sends, at random.
   *
   * @param fraction 0 to 1
   * @param match as for `partition`
   * @returns a function that mends it
   */
  loss(host: Host, fraction: number, match = ''): Promise<() => Promise<void>> {
    const perMille = Math.round(Math.min(Math.max(fraction, 0), 1) * 1000);
    // numgen yields 0 to 999, and nft refuses to compare it with 1000.
    const chance = perMille === 1000 ? '' : `numgen random mod 1000 < ${perMille}`;
    return this.drop(`iifname "${host}" ${match} ${chance}`);
  }

  /** The switch carries nothing of a host, though its cable has a signal. @returns a function that mends it */
  async isolate(host: Host): Promise<() => Promise<void>> {
    const mends = await Promise.all([this.drop(`iifname "${host}"`), this.drop(`oifname "${host}"`)]);
    return async () => {
      await Promise.all(mends.map((mend) => mend()));
    };
  }

  /** @param rule nftables conditions of what the switch loses @returns a function that mends it, once */
  async drop(rule: string): Promise<() => Promise<void>> {
    const added = await this.exec(
      'switch',
      ['nft', '-e', '-a', '-f', '-'],
      `add rule bridge lab drops ${rule} drop`,
    );
    const handle = /# handle (\d+)/.exec(added)?.[1];
    if (handle === undefined) throw new Error(`nft did not tell the handle of the new rule: ${added}`);
    let isMended = false;
    return async () => {
      if (isMended) return;
      isMended = true;
      await this.exec('switch', ['nft', 'delete', 'rule', 'bridge', 'lab', 'drops', 'handle', handle]);
    };
  }

  /** Pids of all that runs on a host. */
  processes(host: Place): number[] {
    const { pid: anchor, netns } = this.state.anchors[host];
    // Without its anchor the namespace is gone, and its number may be a stranger's by now.
    if (!anchorAlive(this.state.anchors[host])) return [];
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== anchor && netnsOf(name) === netns)
      .map(Number);
  }

  /** Command lines of all that runs on a host, for messages. */
  commands(host: Place): string[] {
    return this.processes(host).flatMap((pid) => {
      try {
        return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()}`];
      } catch {
        return [];
      }
    });
  }

  /** Kills all that runs on a host at once, as a power cut does. Its addresses and rules stay: cut it as well. */
  killAll(host: Host): void {
    signalAll(() => this.processes(host), 'SIGKILL');
  }

  /** Ends all that runs on the hosts, and the hosts. */
  async down(): Promise<void> {
    const children = [...this.#children].map((child) => once(child, 'exit'));
    for (const child of this.#children) if (child.pid !== undefined) signalPid(child.pid, 'SIGKILL');
    for (const host of HOSTS) this.killAll(host);
    await Promise.all(children);
    if (this.#holder === undefined) {
      for (const anchor of Object.values(this.state.anchors))
        if (anchorAlive(anchor)) signalPid(anchor.pid, 'SIGKILL');
      return;
    }
    const runs = this.#holder.exitCode === null && this.#holder.signalCode === null;
    const gone = runs ? once(this.#holder, 'exit') : undefined;
    this.#holder.stdin!.end();
    await gone;
  }

  async #cable(): Promise<void> {
    const anchors = this.state.anchors;
    await this.exec(
      'switch',
      ['ip', '-batch', '-'],
      [
        'link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0',
        'link set br0 up',
        ...HOSTS.flatMap((host) => [
          `link add ${host} type veth peer name ${INTERFACE} netns ${anchors[host].pid}`,
          `link set ${host} master br0 up`,
        ]),
      ].join('\n'),
    );
    const chain = 'table bridge lab { chain drops { type filter hook forward priority 0; }; }';
    await Promise.all([
      this.exec('switch', ['nft', '-f', '-'], chain),
      ...HOSTS.map((host) => this.exec(host, ['ip', '-batch', '-'], addresses(host).join('\n'))),
    ]);
  }
}

function addresses(host: Host): string[] {
  const own = [ADDRESS[host], ...(host === 'client' ? CLIENT_ADDRESSES : [])];
  return [
    'link set lo up',
    `link set ${INTERFACE} up`,
    ...own.map((address) => `addr add ${address}/${PREFIX} dev ${INTERFACE}`),
    `addr add ${address6(host)}/64 dev ${INTERFACE} nodad`,
  ];
}

/** @returns the place of that name @throws OperatorError naming what there is */
export function placeOf(name: string): Place {
  if (name === 'switch' || isHost(name)) return name;
  throw new OperatorError(
    'NO_HOST',
    `no host "${name}" in the lab; there are ${HOSTS.join(', ')} and switch`,
  );
}

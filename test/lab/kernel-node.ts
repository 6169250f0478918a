import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { type ControlEvent, type LbdStatus, type Role, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { Daemon } from '../../scripts/lab/daemon.ts';
import { SHARED } from '../../scripts/lab/holder.ts';
import { ADDRESS, type Host, INTERFACE, NODES, type NodeName, PREFIX, VIP } from '../../scripts/lab/hosts.ts';
import { Lab, NODE, ROOT } from '../../scripts/lab/lab.ts';
import { startOrigins } from '../../scripts/lab/origins.ts';
import { until } from '../../scripts/lab/wait.ts';

/** Checks of backends: three late answers in a row are no finding on a busy machine. */
export const CHECKS = '{ type: tcp, interval: 1s, timeout: 1s, fall: 3, rise: 1 }';

/** What the config of a node says whose peer does not run, before frontends and pools. */
export const ONE_OF_A_PAIR = `cluster:
  name: lab
  secret_file: secret
  nodes: { ${NODES.map((node) => `${node}: { address: ${ADDRESS[node]} }`).join(', ')} }
ha:
  vips: [{ address: ${VIP}/${PREFIX}, interface: ${INTERFACE} }]
sessions: { capacity: 1024 }
workers: 1
`;

/** Clients on one host. */
export class Clients {
  readonly #lab: Lab;
  readonly #host: Host;
  readonly #child;
  readonly #lines;
  #next = 0;
  readonly #heard = new Map<string, string[]>();

  constructor(lab: Lab, host: Host) {
    this.#lab = lab;
    this.#host = host;
    this.#child = this.#lab.spawn(host, [NODE, join(ROOT, 'test/lab/kernel-client.ts')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#lines.on('line', (line) => {
      const [id = '', ...words] = line.split(' ');
      this.#heard.set(id, [...(this.#heard.get(id) ?? []), words.join(' ')]);
    });
  }

  /** @returns the client's id, and the backend that greeted it */
  async open(port: number, from = '', host: string = VIP): Promise<[id: string, backend: string]> {
    const id = this.begin(port, from, host);
    const greeting = await this.hears(id, /^data|^error|^end/);
    if (!greeting.startsWith('data')) throw new Error(`${this.#host} to ${port}: ${greeting}`);
    return [id, greeting.slice('data '.length)];
  }

  begin(port: number, from = '', host: string = VIP): string {
    const id = `c${this.#next++}`;
    this.#child.stdin!.write(`open ${id} ${host} ${port}${from && ` ${from}`}\n`);
    return id;
  }

  send(id: string, text: string): void {
    this.#child.stdin!.write(`send ${id} ${text}\n`);
  }

  async echoes(id: string, text: string): Promise<void> {
    this.send(id, text);
    await this.hears(id, new RegExp(`^data ${text}$`));
  }

  async hears(id: string, what: RegExp): Promise<string> {
    for (;;) {
      const found = this.#heard.get(id)?.find((line) => what.test(line));
      if (found !== undefined) return found;
      if (this.#heard.get(id)?.some((line) => /^(error|end)/.test(line)))
        throw new Error(`${id} hears ${this.#heard.get(id)?.join(', ')}`);
      await once(this.#lines, 'line');
    }
  }

  /** Nothing of an end or an error. */
  isQuiet(id: string): boolean {
    return !this.#heard.get(id)?.some((line) => /^(error|end)/.test(line));
  }
}

export class KernelNode {
  readonly lab: Lab;
  readonly name: NodeName;
  readonly lbd: Daemon;
  readonly configFile: string;
  /** On the hosts, with the config; the run directory is below it. */
  readonly directory: string;

  constructor(lab: Lab, config: string, name: NodeName = 'lb1') {
    const outside = mkdtempSync(lab.outside(join(SHARED, 'kernel-')));
    this.lab = lab;
    this.configFile = join(outside, 'tandem.yaml');
    writeFileSync(this.configFile, config);
    writeFileSync(join(outside, 'secret'), Buffer.alloc(48, 7), { mode: 0o600 });
    this.name = name;
    this.directory = join(SHARED, basename(outside));
    this.lbd = new Daemon(lab, 'lbd', name, this.directory, join(this.directory, 'tandem.yaml'));
  }

  async start(): Promise<void> {
    this.lbd.start();
    await this.tells(/^ready: /);
  }

  /** Waits until these backends are ready and get new clients: the kernel's rules follow the state a moment later. */
  async ready(pool: string, names: readonly string[]): Promise<void> {
    await until(`${pool} has ${names.join()}`, async () => {
      this.lbd.requireRunning();
      const { backends } = (await this.status()).pools[pool]!;
      const ready = Object.keys(backends).filter((name) => backends[name]!.state === 'ready');
      const map = await this.lab.exec(this.name, [
        'nft',
        'list',
        'map',
        'inet',
        'tandem_lb',
        `places/${pool}`,
      ]);
      const places = Array.from(map.matchAll(/goto to\/[^/]+\/(\w+)/g), ([, name]) => name);
      const inRules = [...new Set(places)].toSorted();
      if (ready.join() !== names.join() || inRules.join() !== names.join())
        throw new Error(`ready: ${ready.join()}, in the rules: ${inRules.join()}`);
      return true;
    });
  }

  status(): Promise<LbdStatus> {
    return control<LbdStatus>(this.#socket, 'GET', '/v1/status');
  }

  async tells(what: RegExp): Promise<void> {
    await until(`an event ${what}`, async () => {
      this.lbd.requireRunning();
      const events = await control<ControlEvent[]>(this.#socket, 'GET', '/v1/events');
      if (events.some(({ text }) => what.test(text))) return true;
      throw new Error(`the latest is ${events.at(-1)?.text}`);
    });
  }

  async lbctl(...args: string[]): Promise<string> {
    const argv = [
      NODE,
      join(ROOT, 'scripts/lbctl.ts'),
      '--run-dir',
      join(this.directory, this.name),
      ...args,
    ];
    return this.lab.exec(this.name, argv);
  }

  /** Open flows to a port of the VIP that the kernel has translated. */
  async flows(port: number): Promise<number> {
    const { stdout } = await this.lab.run(this.name, [
      ...['conntrack', '-L', '-p', 'tcp', '--orig-dst', VIP, '--orig-port-dst', `${port}`],
      ...['--dst-nat', '--state', 'ESTABLISHED'],
    ]);
    return stdout.split('\n').filter((line) => line.includes('src=')).length;
  }

  /** What the agent would say. */
  async role(role: Role, epoch: number): Promise<void> {
    const socket = connect(this.lab.outside(join(this.directory, this.name, SOCKETS.live)));
    socket.end(`${JSON.stringify({ type: 'role', group: 'default', role, epoch })}\n`);
    await once(socket.resume(), 'close');
  }

  get #socket(): string {
    return this.lab.outside(join(this.directory, this.name, SOCKETS.lbd));
  }
}

/** Clients that find backends behind one node, which has the VIP all the time: no agent runs. */
export async function setUp(
  t: Test,
  config: string,
  prepare: (lab: Lab) => Promise<unknown> = async () => {},
): Promise<{ lab: Lab; node: KernelNode }> {
  const lab = await Lab.up();
  t.teardown(() => lab.down());
  await startOrigins(lab);
  await lab.exec('lb1', ['ip', 'addr', 'add', `${VIP}/${PREFIX}`, 'dev', INTERFACE]);
  await lab.exec('lb1', ['tee', '/proc/sys/net/ipv4/ip_forward'], '1');
  await prepare(lab);
  const node = new KernelNode(lab, config);
  await node.start();
  return { lab, node };
}

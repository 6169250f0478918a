import type { ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type AgentStatus, type LbdStatus, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { writeKeyFiles } from '../../common/key-files.ts';
import { Daemon, type DaemonName } from '../../scripts/lab/daemon.ts';
import { SHARED } from '../../scripts/lab/holder.ts';
import type { NodeName } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { STRANGER } from '../../scripts/lab/stranger.ts';
import { until } from '../../scripts/lab/wait.ts';
import { certify } from '../lbd/tls/authority.ts';
import { as, HELPER, LBD, spawnHelper } from './split-node.ts';

/** Numbers of users that no machine has, each with a group of the same number. */
export const ID = { lb: LBD, net: HELPER, ha: 64_003, operator: 64_010, stranger: STRANGER } as const;
/** Numbers of the other groups. */
const GROUP = { conf: 64_004, operators: 64_005 } as const;
const SECRET = Buffer.alloc(48, 7);

/** Each user of a node, with the rights that its unit, or its login, gives it. */
export const AS = {
  nobody: as(ID.stranger),
  'an operator': as(ID.operator, [], [GROUP.operators]),
  'tandem-lb': as(ID.lb, ['net_bind_service'], [GROUP.conf]),
  'tandem-ha': as(ID.ha, ['net_admin', 'net_raw'], [GROUP.conf]),
  'tandem-net': as(ID.net, ['net_admin'], [GROUP.conf]),
} as const;
export type User = keyof typeof AS;

/** Puts config, secret and keys in a directory into the hands that `scripts/install` puts them into; the cluster is `lab`. */
export function ownSite(outside: string): void {
  own(join(outside, 'tandem.yaml'), 0, GROUP.conf, 0o640);
  ownKeys(join(outside, 'secret'));
}

/** Closes a secret, and derives its keys. */
export function ownKeys(secret: string): void {
  own(secret, 0, 0, 0o600);
  const groups: Readonly<Record<string, number>> = { 'tandem-lb': ID.lb, 'tandem-ha': ID.ha };
  writeKeyFiles(secret, 'lab', readFileSync(secret), (group) => groups[group]!);
}

/** Makes the folders of a node below a directory: its run directory, which may be there, and what outlives a restart. */
export function makeFolders(outside: string, node: NodeName): void {
  const folder = (path: string, uid: number, gid: number, mode: number) => {
    mkdirSync(join(outside, path), { recursive: true });
    own(join(outside, path), uid, gid, mode);
  };
  folder(node, 0, 0, 0o755);
  folder(join(node, 'lb'), ID.lb, GROUP.operators, 0o2750);
  folder(join(node, 'ha'), ID.ha, GROUP.operators, 0o2750);
  folder(join(node, 'live'), ID.lb, ID.ha, 0o2750);
  // The helper itself makes the socket, which is the service manager's work in an installation.
  folder(join(node, 'net'), ID.net, ID.lb, 0o2750);
  folder(stateOf('lbd', node), ID.lb, ID.lb, 0o750);
  folder(stateOf('ha-agent', node), ID.ha, ID.ha, 0o750);
}

/** From its next start on a daemon is the user that it is in an installation. @param directory on the hosts, see `makeFolders` */
export function runAsUser(daemon: Daemon, directory: string): void {
  daemon.as = AS[daemon.name === 'lbd' ? 'tandem-lb' : 'tandem-ha'];
  daemon.flags = ['--state-dir', join(directory, stateOf(daemon.name, daemon.node))];
}

/** @returns the folder of what outlives a restart, relative to the directory of `makeFolders` */
export function stateOf(daemon: DaemonName, node: NodeName): string {
  return `state-${daemon}-${node}`;
}

function own(path: string, uid: number, gid: number, mode: number): void {
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}

/** A node as `scripts/install` leaves it: a user for each daemon, and files and folders of the owners that it sets. */
export class InstalledNode {
  readonly lab: Lab;
  readonly name: NodeName;
  /** On the hosts; what an installation has below /etc/tandem is in `etc`. */
  readonly directory: string;
  readonly daemons: Readonly<Record<DaemonName, Daemon>>;
  #helper: ChildProcess | undefined;

  constructor(lab: Lab, name: NodeName, config: string) {
    const outside = mkdtempSync(lab.outside(join(SHARED, 'node-')));
    this.lab = lab;
    this.name = name;
    this.directory = join(SHARED, basename(outside));
    mkdirSync(join(outside, 'etc'));
    writeFileSync(join(outside, 'etc/tandem.yaml'), config);
    writeFileSync(join(outside, 'etc/secret'), SECRET);
    mkdirSync(join(outside, 'etc/tls'));
    const { cert, key } = certify({ name: 'shop.example', alternatives: ['shop.example'] });
    for (const [file, text] of [
      ['site.crt', cert],
      ['site.key', key],
    ] as const) {
      writeFileSync(join(outside, 'etc/tls', file), text);
      own(join(outside, 'etc/tls', file), 0, ID.lb, 0o640);
    }
    own(outside, 0, 0, 0o755);
    own(join(outside, 'etc'), 0, GROUP.conf, 0o750);
    own(join(outside, 'etc/tls'), 0, GROUP.conf, 0o750);
    ownSite(join(outside, 'etc'));
    makeFolders(outside, name);
    const daemon = (which: DaemonName) => {
      const it = new Daemon(lab, which, name, this.directory, join(this.directory, 'etc/tandem.yaml'));
      runAsUser(it, this.directory);
      return it;
    };
    this.daemons = { lbd: daemon('lbd'), 'ha-agent': daemon('ha-agent') };
  }

  /** @returns a path on the hosts */
  path(relative: string): string {
    return join(this.directory, relative);
  }

  /** @returns the path of a socket on the hosts */
  socket(which: keyof typeof SOCKETS): string {
    return join(this.directory, this.name, SOCKETS[which]);
  }

  get helperPid(): number {
    return this.#helper!.pid!;
  }

  /** Starts all three, and waits until they work with each other. */
  async start(): Promise<void> {
    this.#helper = spawnHelper(this.lab, this.name, {
      as: AS['tandem-net'],
      config: this.path('etc/tandem.yaml'),
      runDirectory: join(this.directory, this.name),
      log: this.lab.outside(this.path('helper.log')),
    });
    for (const daemon of Object.values(this.daemons)) daemon.start();
    await until('the node serves', async () => {
      for (const daemon of Object.values(this.daemons)) daemon.requireRunning();
      const [agent, lbd] = await Promise.all([this.agentStatus(), this.lbdStatus()]);
      const engines = Object.values(lbd.frontends).map(({ engine }) => engine?.engine ?? 'user');
      const said = JSON.stringify([agent.role, agent.warnings, lbd.warnings, engines]);
      if (agent.role !== 'active' || !engines.includes('kernel')) throw new Error(said);
      return true;
    });
  }

  agentStatus(): Promise<AgentStatus> {
    return control<AgentStatus>(this.lab.outside(this.socket('agent')), 'GET', '/v1/status');
  }

  lbdStatus(): Promise<LbdStatus> {
    return control<LbdStatus>(this.lab.outside(this.socket('lbd')), 'GET', '/v1/status');
  }
}

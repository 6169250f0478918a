import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { OperatorError } from '../../common/errors.ts';
import type { NodeName } from '../lab/hosts.ts';

export const VAGRANT_DIR = join(import.meta.dirname, '../../vagrant');

/** What a technician does with the machine itself, not inside it. */
interface Provider {
  /** @param mac of the interface, with colons */
  plug(id: string, mac: string, plugged: boolean): readonly string[];
  powerOff(id: string): readonly string[];
  powerOn(id: string): readonly string[];
}

const VIRSH = ['virsh', '--connect', 'qemu:///system', '--quiet'];

const PROVIDERS: Readonly<Record<string, Provider>> = {
  libvirt: {
    plug: (id, mac, plugged) => [...VIRSH, 'domif-setlink', id, mac, plugged ? 'up' : 'down'],
    powerOff: (id) => [...VIRSH, 'destroy', id],
    powerOn: (id) => [...VIRSH, 'start', id],
  },
  virtualbox: {
    // The private network is the second adapter of every machine of the Vagrantfile.
    plug: (id, _mac, plugged) => ['VBoxManage', 'controlvm', id, 'setlinkstate2', plugged ? 'on' : 'off'],
    powerOff: (id) => ['VBoxManage', 'controlvm', id, 'poweroff'],
    powerOn: (id) => ['VBoxManage', 'startvm', id, '--type', 'headless'],
  },
};

/** The machines of `vagrant/Vagrantfile`, from outside. */
export class Vagrant {
  readonly provider: string;
  readonly #machines: Readonly<Record<NodeName, string>>;

  /** @throws OperatorError when they are not up, or with a provider that is not known here */
  constructor() {
    const found = Object.keys(PROVIDERS).find((provider) => existsSync(idFile('lb1', provider)));
    if (found === undefined)
      throw new OperatorError('VM', 'the machines are not up: cd vagrant && vagrant up');
    this.provider = found;
    const id = (node: NodeName) => readFileSync(idFile(node, found), 'utf8').trim();
    this.#machines = { lb1: id('lb1'), lb2: id('lb2') };
  }

  /** @returns what to give to `ssh -F` */
  static async sshConfig(): Promise<string> {
    const { stdout } = await execa('vagrant', ['ssh-config'], { cwd: VAGRANT_DIR, stderr: 'inherit' });
    return stdout;
  }

  plug(node: NodeName, mac: string, plugged: boolean): Promise<void> {
    return this.#run(this.#driver.plug(this.#machines[node], mac, plugged));
  }

  powerOff(node: NodeName): Promise<void> {
    return this.#run(this.#driver.powerOff(this.#machines[node]));
  }

  powerOn(node: NodeName): Promise<void> {
    return this.#run(this.#driver.powerOn(this.#machines[node]));
  }

  get #driver(): Provider {
    return PROVIDERS[this.provider]!;
  }

  async #run([program, ...args]: readonly string[]): Promise<void> {
    const result = await execa(program!, args, { reject: false });
    if (result.exitCode !== 0) throw new OperatorError('VM', result.stderr || result.shortMessage!);
  }
}

function idFile(node: NodeName, provider: string): string {
  const directory = process.env.VAGRANT_DOTFILE_PATH ?? join(VAGRANT_DIR, '.vagrant');
  return join(directory, 'machines', node, provider, 'id');
}

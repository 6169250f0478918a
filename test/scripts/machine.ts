import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { hasTool, TOOL_PATH } from '../../scripts/lab/missing.ts';

const TREE = join(import.meta.dirname, '../..');
const TOOLS = [
  'unshare',
  'nsenter',
  'chroot',
  'systemctl',
  'useradd',
  'dpkg-query',
  'arping',
  'nft',
  'ip',
  'ssh-keygen',
  'openssl',
  'setpriv',
  'systemd-sysusers',
  'systemd-tmpfiles',
];

/**
 * All of this machine's files below an overlay in memory, in a mount, network and host name namespace of its own:
 * whatever is written there is gone afterwards and never was on the machine.
 */
const SETUP = `set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
mount --rbind /proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
mount -t sysfs sysfs /mnt/root/sys
mount -t tmpfs tmpfs /mnt/root/run
mkdir -p /mnt/root/tree
mount --bind "$1" /mnt/root/tree
hostname lb1
ip link set lo up
echo ready
exec cat`;

/** @returns for `skip`: what this machine lacks for it, or false; in CI nothing is skipped but for want of root */
export function skipMachine(): string | false {
  if (process.getuid?.() !== 0) return 'an install needs root';
  if (process.env.CI === 'true') return false;
  const lacking = TOOLS.filter((tool) => !hasTool(tool));
  if (lacking.length > 0) return `no ${lacking.join(', ')} here`;
  const tried = spawnSync('unshare', ['-mnu', '--propagation', 'private', 'sh', '-c', SETUP, 'sh', TREE], {
    input: '',
    env: { ...process.env, PATH: TOOL_PATH },
  });
  return tried.status === 0 ? false : `no overlay in a namespace: ${tried.stderr.toString().trim()}`;
}

const LOGIN_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine to install on; the tree is at `/tree`. */
export class Machine {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async start(t: Test): Promise<Machine> {
    const args = ['-mnu', '--propagation', 'private', 'sh', '-c', SETUP, 'sh', TREE];
    const holder = spawn('unshare', args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, PATH: TOOL_PATH },
    });
    t.teardown(async () => {
      const gone = once(holder, 'exit');
      holder.stdin.end();
      await gone;
    });
    await once(holder.stdout, 'data');
    return new Machine(holder);
  }

  /**
   * Runs a shell command as root. Its environment is that of a login, set in there: the test runner adds its own to
   * what a test starts, and a Node that runs as another user would fail to write the runner's files.
   */
  run(command: string): Ran {
    const enter = ['--target', String(this.#holder.pid), '--mount', '--uts', '--net'];
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [...enter, 'chroot', '/mnt/root', 'env', '-i', LOGIN_PATH, 'sh', '-c', command],
      { encoding: 'utf8' },
    );
    return { code: status, stdout, stderr };
  }
}

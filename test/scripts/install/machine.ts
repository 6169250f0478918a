import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { hasTool, TOOL_PATH } from '../../../scripts/lab/missing.ts';

const TREE = join(import.meta.dirname, '../../..');
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
 * Arguments: the tree, a folder to be in, the layers below. All of this machine's files below an overlay in memory, in a
 * mount, network and host name namespace of its own: whatever is written there is gone afterwards and never was on the
 * machine. A kept one leaves what it wrote as a layer for others.
 */
const SETUP = `set -e
mount -t tmpfs -o mode=755 tmpfs $2
cd $2
mkdir upper work root
mount -t overlay overlay -o lowerdir=$3,upperdir=$2/upper,workdir=$2/work root
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mount -t sysfs sysfs root/sys
mount -t tmpfs tmpfs root/run
[ $3 = / ] || cp -a /mnt/run/. root/run/
mkdir -p root/tree
mount --bind "$1" root/tree
cd /
hostname lb1
ip link set lo up
echo ready
exec cat`;
const NEW = ['-mnu', '--propagation', 'private', 'sh', '-c', SETUP, 'sh', TREE];
const BARE = [...NEW, '/mnt', '/'];
const KEEP = 'cp -a /mnt/root/run /mnt/run && umount -R /mnt/root && mkdir /mnt/copy';
const COPY = [...NEW, '/mnt/copy', '/mnt/upper:/'];

/** @returns for `skip`: what this machine lacks for it, or false; in CI nothing is skipped but for want of root */
export function skipMachine(): string | false {
  if (process.getuid?.() !== 0) return 'an install needs root';
  if (process.env.CI === 'true') return false;
  const lacking = TOOLS.filter((tool) => !hasTool(tool));
  if (lacking.length > 0) return `no ${lacking.join(', ')} here`;
  const tried = spawnSync('unshare', BARE, {
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
  readonly #root: string;

  private constructor(holder: ChildProcess, root: string) {
    this.#holder = holder;
    this.#root = root;
  }

  static start(t: Test): Promise<Machine> {
    return Machine.#hold(t, 'unshare', BARE, '/mnt/root');
  }

  /** Ends this machine but for what it wrote; `copy` makes others of that. */
  keep(): void {
    const { status, stderr } = spawnSync('nsenter', [...this.#namespaces(), 'sh', '-c', KEEP], {
      env: { ...process.env, PATH: TOOL_PATH },
    });
    if (status !== 0) throw new Error(`the machine cannot be kept: ${stderr}`);
  }

  /** A machine that begins as the one that was kept ended, and shares nothing with it or with other copies. */
  copy(t: Test): Promise<Machine> {
    return Machine.#hold(t, 'nsenter', [...this.#namespaces(), 'unshare', ...COPY], '/mnt/copy/root');
  }

  static async #hold(t: Test, file: string, args: string[], root: string): Promise<Machine> {
    const holder = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, PATH: TOOL_PATH },
    });
    t.teardown(async () => {
      const gone = once(holder, 'exit');
      holder.stdin!.end();
      await gone;
    });
    await once(holder.stdout!, 'data');
    return new Machine(holder, root);
  }

  #namespaces(): string[] {
    return ['--target', String(this.#holder.pid), '--mount', '--uts', '--net'];
  }

  /**
   * Runs a shell command as root. Its environment is that of a login, set in there: the test runner adds its own to
   * what a test starts, and a Node that runs as another user would fail to write the runner's files.
   */
  run(command: string): Ran {
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [...this.#namespaces(), 'chroot', this.#root, 'env', '-i', LOGIN_PATH, 'sh', '-c', command],
      { encoding: 'utf8' },
    );
    return { code: status, stdout, stderr };
  }
}

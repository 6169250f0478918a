import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { OperatorError } from '../../common/errors.ts';
import { HOSTS, type Place } from './hosts.ts';
import { type LabMode, TOOL_PATH, unshareFlags } from './missing.ts';

/** A process that keeps a namespace alive, and the namespace's identity (a pid alone may be reused). */
export interface Anchor {
  readonly pid: number;
  /** `net:[inode]`, as `/proc/PID/ns/net` reads. */
  readonly netns: string;
}

export interface Holder {
  readonly process: ChildProcess;
  readonly anchors: Readonly<Record<Place, Anchor>>;
}

/** A directory that all hosts share, in memory: it vanishes with the lab, whatever happens. */
export const SHARED = '/run/lab';

/**
 * Private `/run`, so that daemons of two nodes do not meet there, and a `/sys` that shows this namespace's
 * interfaces. Where a container forbids the latter the old one stays: only its view of interfaces is wrong.
 */
const MOUNTS = 'mount -t tmpfs tmpfs /run && { mount -t sysfs sysfs /sys 2>/dev/null || true; }';
/** The switch's directory is carried over the host's own `/run` by way of `/mnt`. */
const HOST_MOUNTS = `mount --bind ${SHARED} /mnt && ${MOUNTS} && mkdir ${SHARED} && mount --move /mnt ${SHARED}`;

/**
 * Programs of another user run on the hosts, from the tree: a folder above it that is root's alone, such as that of a clone in
 * /root, is open to all there. `$2` is the tree. On the machine nothing is changed.
 */
const OPEN_THE_WAY = `
open_way() {
  [ "$1" = / ] || open_way "$(dirname "$1")"
  case $(stat -c %A "$1") in *x | *t) return ;; esac
  mkdir /run/closed
  mount --rbind "$1" /run/closed
  mount -t tmpfs -o mode=755 tmpfs "$1"
  for folder in /run/closed/* /run/closed/.[!.]*; do
    [ -d "$folder" ] && [ ! -h "$folder" ] || continue
    mkdir "$1/\${folder##*/}"
    mount --rbind "$folder" "$1/\${folder##*/}"
  done
  umount -l /run/closed
  rmdir /run/closed
}
[ -z "$2" ] || open_way "$(dirname "$2")"
`;

/** New connections by the hundred a second must not run out of ports within a test. */
const SYSCTLS: readonly (readonly [file: string, value: string])[] = [
  ['ipv4/ip_nonlocal_bind', '1'],
  ['ipv6/ip_nonlocal_bind', '1'],
  ['ipv4/ip_local_port_range', '10240 65535'],
  ['ipv4/tcp_tw_reuse', '1'],
  ['ipv6/conf/default/accept_dad', '0'],
  ['ipv6/conf/default/router_solicitations', '0'],
];

/** Of 0.1 s; what then still runs on a host cannot be killed. */
const MAX_ROUNDS = 100;

/**
 * The script of the holder. It waits for the end of its input, which comes when its starter is gone, however that
 * came; then it kills what still runs on the hosts, again and again, because a program may just be on its way there,
 * and goes. With `$1` set it stays until it is killed. The anchors die with it by their parent-death signal, and with
 * them the namespaces: the numbers of these are nobody else's until then.
 */
function script(flags: readonly string[]): string {
  const sysctls = SYSCTLS.map(([file, value]) => `echo '${value}' >/proc/sys/net/${file}`).join('; ');
  const anchor = `${HOST_MOUNTS} && { ${sysctls}; } 2>/dev/null; echo "$1 $$ $(readlink /proc/$$/ns/net)"; exec sleep infinity`;
  return `
set -e
trap '' INT TERM HUP
${MOUNTS}
${OPEN_THE_WAY}
mkdir ${SHARED}
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || true
echo "switch $$ $(readlink /proc/$$/ns/net)"
for host in ${HOSTS.join(' ')}; do
  setpriv --pdeathsig KILL unshare ${flags.join(' ')} setpriv --pdeathsig KILL sh -c '${anchor.replaceAll("'", `'\\''`)}' anchor $host </dev/null &
  spaces="$spaces $!"
done
set +e
[ -z "$1" ] || exec sleep infinity
cat >/dev/null
nets=" $(for pid in $spaces; do stat -L -c %i /proc/$pid/ns/net; done 2>/dev/null | tr '\\n' ' ')"
look() {
  found=no
  for line in $(stat -L -c %i:%n /proc/[0-9]*/ns/net 2>/dev/null); do
    case $nets in *" \${line%%:*} "*) ;; *) continue ;; esac
    pid=\${line#*:/proc/}
    pid=\${pid%%/*}
    case "$spaces " in *" $pid "*) continue ;; esac
    kill -9 $pid 2>/dev/null
    found=yes
  done
}
rounds=0
while look && [ $found = yes ] && [ $((rounds += 1)) -lt ${MAX_ROUNDS} ]; do sleep 0.1; done
exit 0
`;
}

/**
 * Starts the process that owns all namespaces of one lab.
 *
 * @param tree whose programs the hosts run
 * @param detached true: it outlives this process (`lab.ts up`); false: it ends when this process ends
 * @throws OperatorError where the namespaces cannot be made
 */
export async function startHolder(mode: LabMode, tree: string, detached: boolean): Promise<Holder> {
  const nested = ['-nm', '--propagation', 'private'];
  const holder = spawn(
    'unshare',
    [
      ...[...unshareFlags(mode), 'sh', '-c', script(nested), 'tandem-lab', detached ? 'stay' : ''],
      // Where there is no root there is no other user either.
      mode === 'root' ? tree : '',
    ],
    // Own session: Ctrl-C in the terminal goes to the program, which then ends the lab in order.
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: { ...process.env, PATH: TOOL_PATH } },
  );
  let complaint = '';
  holder.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const anchors: Partial<Record<Place, Anchor>> = {};
  const lines = createInterface({ input: holder.stdout });
  for await (const line of lines) {
    const [place, pid, netns] = line.split(' ');
    anchors[place as Place] = { pid: Number(pid), netns: netns ?? '' };
    if (Object.keys(anchors).length === HOSTS.length + 1) break;
  }
  if (Object.keys(anchors).length !== HOSTS.length + 1)
    throw new OperatorError(
      'LAB',
      `the lab's namespaces could not be made: ${complaint.trim() || 'no reason given'}`,
    );
  return { process: holder, anchors: anchors as Record<Place, Anchor> };
}

/** @returns whether the anchor still is the process that we started */
export function anchorAlive(anchor: Anchor): boolean {
  return netnsOf(anchor.pid) === anchor.netns;
}

/** @returns `net:[inode]` of a process, or undefined when it is gone or not ours to see */
export function netnsOf(pid: number | string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

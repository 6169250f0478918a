import { availableParallelism } from 'node:os';
import type { NodeName } from './hosts.ts';
import type { Lab } from './lab.ts';
import { MULTICAST_PORT, UNICAST_PORT } from './pair-config.ts';
import { signalPid } from './signals.ts';

/** What ends an impairment. */
export type End = () => Promise<void>;

/** Loses all that two hosts send to each other, in the switch; others reach both. */
export function split(lab: Lab, a: NodeName, b: NodeName): Promise<End> {
  // One rule, so that both directions go and come back at the same moment.
  return lab.drop(`iifname . oifname { "${a}" . "${b}", "${b}" . "${a}" }`);
}

/** Loses the heartbeats of all paths, and nothing else. */
export function dropDatagrams(lab: Lab): Promise<End> {
  return lab.drop(`udp dport { ${MULTICAST_PORT}, ${UNICAST_PORT} }`);
}

/**
 * Doubles what one host sends to another. The copy overtakes: it leaves the switch before the original does.
 *
 * @param match nftables conditions, such as `udp dport 7470`
 */
export async function duplicate(lab: Lab, from: NodeName, to: NodeName, match: string): Promise<End> {
  const table = `lab_double_${from}`;
  const rule = `type filter hook ingress device "${from}" priority 0; ${match} dup to "${to}"`;
  await lab.exec('switch', ['nft', '-f', '-'], `table netdev ${table} { chain copies { ${rule}; }; }`);
  return async () => {
    await lab.exec('switch', ['nft', 'delete', 'table', 'netdev', table]);
  };
}

/** Datagrams that wait in the slow class of `delay`; with more, the newest is lost. */
const QUEUE = 3;

/**
 * Lets a part of what goes to a host through a slow queue: it comes late and, beside what takes another path, out of
 * order. (Where the kernel has no netem, as here, a queue is how a delay is made.)
 *
 * @param match nftables conditions of what is late
 * @param bitRate bits a second of the queue; a datagram of 200 bytes at 8000 waits 200 ms for each one before it
 */
export async function delay(lab: Lab, to: NodeName, match: string, bitRate: number): Promise<End> {
  const table = `lab_late_${to}`;
  const tc = [
    `qdisc add dev ${to} root handle 1: htb default 10`,
    `class add dev ${to} parent 1: classid 1:10 htb rate 10gbit quantum 60000`,
    `class add dev ${to} parent 1: classid 1:20 htb rate ${bitRate}bit burst 1 cburst 1 quantum 1500`,
    `qdisc add dev ${to} parent 1:20 handle 20: pfifo limit ${QUEUE}`,
  ];
  const rule = `type filter hook postrouting priority 0; oifname "${to}" ${match} meta priority set 0x10020`;
  await lab.exec('switch', ['tc', '-batch', '-'], tc.join('\n'));
  await lab.exec('switch', ['nft', '-f', '-'], `table bridge ${table} { chain slow { ${rule}; }; }`);
  return async () => {
    await lab.exec('switch', ['nft', 'delete', 'table', 'bridge', table]);
    await lab.exec('switch', ['tc', 'qdisc', 'del', 'dev', to, 'root']);
  };
}

/** Puts a program that fails in the place of `ip`, on one host, and ends those that run in batch mode. */
export async function breakIp(lab: Lab, host: NodeName): Promise<End> {
  const ip = (await lab.exec(host, ['sh', '-c', 'readlink -f "$(command -v ip)"'])).trim();
  await lab.exec(host, ['mount', '--bind', '/bin/false', ip]);
  for (const line of lab.commands(host)) {
    const [pid, ...argv] = line.split(' ');
    if (argv.includes('-batch')) signalPid(Number(pid), 'SIGKILL');
  }
  return async () => {
    // Lazily: the program may run at this moment, and then the mount is busy.
    await lab.exec(host, ['umount', '-l', ip]);
  };
}

/** A hog ends by itself, whatever becomes of the program that started it. */
const HOG_S = 30;
/** A real-time busy loop where that is allowed, else one at the highest ordinary priority. */
const HOG = `chrt -f -p 1 $$ || renice -n -20 -p $$; while ((SECONDS < ${HOG_S})); do :; done`;

/**
 * Leaves all that runs on a host next to no processor time: a busy loop with a higher priority has their processor.
 *
 * @throws Error on a machine with one processor, where it would starve the lab itself
 */
export async function starve(lab: Lab, host: NodeName): Promise<End> {
  const processors = availableParallelism();
  if (processors < 2) throw new Error('starving one node needs two processors');
  const own = String(processors - 1);
  await pin(lab, host, own);
  const argv = ['taskset', '-c', own, 'bash', '-c', HOG];
  // Beside the host, so that what stops or ends all that runs on the host leaves it alone.
  const hog = lab.spawn('switch', argv, { stdio: 'ignore' });
  return async () => {
    hog.kill('SIGKILL');
    await pin(lab, host, `0-${processors - 1}`);
  };
}

/** Processes that have ended in the meantime do not matter. */
async function pin(lab: Lab, host: NodeName, processors: string): Promise<void> {
  const script = 'for pid; do taskset -apc "$0" "$pid"; done';
  await lab.run('switch', ['sh', '-c', script, processors, ...lab.processes(host).map(String)]);
}

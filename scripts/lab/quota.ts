import { accessSync, constants, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.ts';
import type { Host } from './hosts.ts';
import type { End } from './impair.ts';
import type { Lab } from './lab.ts';
import { until } from './wait.ts';

/** Length of a period in which a share is granted; a shorter one than the kernel's usual makes the pace even. */
const PERIOD_US = 50_000;

/** Where this machine keeps its control groups of processor time, and how a share is said there. */
interface Controller {
  readonly root: string;
  limit(directory: string, share: number): void;
}

const VERSION_1: Controller = {
  root: '/sys/fs/cgroup/cpu',
  limit: (directory, share) => {
    writeFileSync(join(directory, 'cpu.cfs_period_us'), String(PERIOD_US));
    writeFileSync(join(directory, 'cpu.cfs_quota_us'), String(Math.round(share * PERIOD_US)));
  },
};

const VERSION_2: Controller = {
  root: '/sys/fs/cgroup',
  limit: (directory, share) =>
    writeFileSync(join(directory, 'cpu.max'), `${Math.round(share * PERIOD_US)} ${PERIOD_US}`),
};

/** @returns why no host of the lab can be given a share of a processor here; undefined: it can */
export function quotaMissing(): string | undefined {
  return controller() === undefined
    ? 'a slow host needs control groups of processor time that this user may write'
    : undefined;
}

/**
 * Gives all that runs on a host, now and later, a share of one processor: a slow machine.
 *
 * @param share of one processor, above 0
 * @returns gives it back its full speed
 * @throws Error where this machine lets nobody do that, see `quotaMissing`
 */
export function slow(lab: Lab, host: Host, share: number): End {
  const found = controller();
  if (found === undefined) throw new Error(quotaMissing());
  const directory = join(found.root, `tandem-lab-${process.pid}-${host}`);
  mkdirSync(directory, { recursive: true });
  found.limit(directory, share);
  const members = join(directory, 'cgroup.procs');
  lab.joinGroup(host, members);
  move(lab.processes(host), members);
  return async () => {
    lab.joinGroup(host, undefined);
    await until('nothing runs slowly any more', () => {
      move(listed(members), join(found.root, 'cgroup.procs'));
      if (listed(members).length > 0) return false;
      rmdirSync(directory);
      return true;
    });
  };
}

/** Of the kernel's clock ticks, see proc_pid_stat(5). */
const TICK_MS = 10;

/** Processor time that all that runs on a host has used so far, in milliseconds; what has ended does not count. */
export function usedMs(lab: Lab, host: Host): number {
  return lab.processes(host).reduce((sum, pid) => {
    try {
      const [, , , , , , , , , , , user = '0', system = '0'] = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      return sum + (Number(user) + Number(system)) * TICK_MS;
    } catch {
      return sum;
    }
  }, 0);
}

function controller(): Controller | undefined {
  const isThere = (file: string) => {
    try {
      accessSync(file, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  };
  if (isThere(join(VERSION_1.root, 'cpu.cfs_quota_us')) || isThere(join(VERSION_1.root, 'tasks')))
    return VERSION_1;
  try {
    const granted = readFileSync(join(VERSION_2.root, 'cgroup.subtree_control'), 'utf8').split(/\s+/);
    if (granted.includes('cpu') && isThere(join(VERSION_2.root, 'cgroup.procs'))) return VERSION_2;
  } catch {
    return undefined;
  }
  return undefined;
}

function listed(members: string): number[] {
  return readFileSync(members, 'utf8').split('\n').filter(Boolean).map(Number);
}

function move(pids: readonly number[], members: string): void {
  for (const pid of pids)
    try {
      writeFileSync(members, String(pid));
    } catch (error) {
      // It has ended in the meantime.
      if (!messageOf(error).includes('ESRCH')) throw error;
    }
}

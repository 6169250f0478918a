import { readdirSync, readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Node runs on. */
const TICK_US = 10_000;

export interface Usage {
  /** CPU microseconds of the process with all of its threads, since its start. */
  readonly userUs: number;
  readonly systemUs: number;
}

/** undefined: it has ended, as programs do that a proxy runs while it starts. */
function statOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
}

/** CPU time of processes and their children that still run, together. */
export function usageOf(pids: readonly number[]): Usage {
  let userUs = 0;
  let systemUs = 0;
  for (const pid of pids) {
    // The name in parentheses may hold spaces; what follows is the field `state`, number 3 in proc(5).
    const stat = statOf(pid);
    if (stat === undefined) continue;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    userUs += Number(fields[11]) * TICK_US;
    systemUs += Number(fields[12]) * TICK_US;
  }
  return { userUs, systemUs };
}

/** Resident memory of processes in bytes, together. */
export function residentBytes(pids: readonly number[]): number {
  let total = 0;
  for (const pid of pids) {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    total += Number(match?.[1] ?? 0) * 1024;
  }
  return total;
}

/** The process and all that descend from it. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat === undefined) continue;
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found: number[] = [];
  const queue = [root];
  for (let pid = queue.shift(); pid !== undefined; pid = queue.shift()) {
    found.push(pid);
    queue.push(...(children.get(pid) ?? []));
  }
  return found;
}

import { readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Node runs on. */
const TICK_US = 10_000;

/**
 * CPU microseconds of the whole machine since its start, in the kernel's interrupts, too, where a kernel that balances
 * does its work. Without what runs at a lower priority (`nice`), which is somebody else's.
 */
export interface MachineTime {
  readonly busyUs: number;
  readonly idleUs: number;
}

/** @param stat content of `/proc/stat`, see proc(5) */
export function machineTime(stat = readFileSync('/proc/stat', 'latin1')): MachineTime {
  const [, user, , system, idle, ioWait, irq, softIrq, steal] = stat
    .split('\n', 1)[0]!
    .split(/\s+/)
    .map(Number);
  return {
    busyUs: (user! + system! + irq! + softIrq! + steal!) * TICK_US,
    idleUs: (idle! + ioWait!) * TICK_US,
  };
}

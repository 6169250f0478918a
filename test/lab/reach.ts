import type { Host } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { until } from '../../scripts/lab/wait.ts';

/** One ping. @returns whether it was answered within a second */
export async function answers(lab: Lab, from: Host, address: string): Promise<boolean> {
  return (await lab.run(from, ['ping', '-c1', '-W1', address])).code === 0;
}

/** Waits until a ping is answered. */
export async function reaches(lab: Lab, from: Host, address: string): Promise<boolean> {
  return await until(`${from} reaches ${address}`, () => answers(lab, from, address));
}

import type { Host } from '../../scripts/lab/hosts.ts';
import type { Lab } from '../../scripts/lab/lab.ts';
import { until } from '../../scripts/lab/wait.ts';

/** Waits until nothing runs on a host any more. @throws Error that names what still does */
export async function quiet(lab: Lab, host: Host): Promise<void> {
  await until(`nothing runs on ${host}`, () => {
    const left = lab.commands(host);
    if (left.length > 0) throw new Error(left.join('; '));
    return true;
  });
}

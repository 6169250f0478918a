import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BACKENDS, type Host } from './hosts.ts';
import { type Lab, NODE } from './lab.ts';

/** Starts one origin. @returns its process, once it listens */
export async function startOrigin(lab: Lab, host: Host, args: string[] = []): Promise<ChildProcess> {
  const argv = [NODE, join(import.meta.dirname, 'origin.ts'), '--name', host, ...args];
  const child = lab.spawn(host, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout! });
  await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => {
      throw new Error(`the origin on ${host} ended before it listened`);
    }),
  ]);
  return child;
}

/** Starts the three backends. */
export async function startOrigins(lab: Lab): Promise<void> {
  await Promise.all(BACKENDS.map((host) => startOrigin(lab, host)));
}

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { until } from '../../scripts/lab/wait.ts';

/** For scenes: runs `ip` in their own namespace. */
export const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });

/** Prints a finding. */
export const tell = (name: string, value: unknown) => console.log(JSON.stringify([name, value]));

/**
 * A neighbour in a namespace of its own, with its interface `cable` at the other end of the scene's `eth1`. It ends with the
 * scene.
 *
 * @returns runs `ip` there @throws Error outside of a scene, see `runScene`
 */
export async function neighbourOfScene(): Promise<(...args: string[]) => string> {
  // What uses it changes addresses, rules and settings: never on the machine itself.
  if (process.env.TANDEM_SCENE !== 'own namespace') throw new Error('this is a scene: run its test instead');
  const neighbour = spawn('unshare', ['-n', 'sleep', '300'], { stdio: 'ignore' });
  await once(neighbour, 'spawn');
  neighbour.unref();
  process.on('exit', () => neighbour.kill('SIGKILL'));
  const space = (pid: number | 'self') => readlinkSync(`/proc/${pid}/ns/net`);
  await until('the namespace of the neighbour', () => space(neighbour.pid!) !== space('self'));
  const there = (...args: string[]) =>
    execFileSync('nsenter', ['-t', String(neighbour.pid), '-n', 'ip', ...args], { encoding: 'utf8' });
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'cable');
  ip('link', 'set', 'cable', 'netns', String(neighbour.pid));
  ip('link', 'set', 'eth1', 'up');
  there('link', 'set', 'cable', 'up');
  there('addr', 'add', '192.0.2.3/24', 'dev', 'cable');
  return there;
}

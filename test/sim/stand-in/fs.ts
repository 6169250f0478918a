import * as fs from 'node:fs';
import { asking, surroundings } from './current.ts';

export * from 'node:fs';

const SETTINGS = '/proc/sys/net/';
/** Routes: there are none. */
const NETWORK = '/proc/net/';
const PROCESS = /^\/proc\/(\d+)\/stat$/;

/** In place of `fs.readFileSync`: `/proc` is the simulated machine's. */
export function readFileSync(path: string, options: BufferEncoding): string {
  const [, pid] = PROCESS.exec(path) ?? [];
  if (pid !== undefined) {
    const { machine } = asking();
    const lbd = surroundings().lbdOf(machine);
    if (Number(pid) !== lbd.pid || !lbd.alive) throw new Error(`ENOENT: no such file, open '${path}'`);
    return `${pid} (lbd) ${machine.holds('helper') ? 'T' : 'S'} 1`;
  }
  if (path.startsWith(SETTINGS)) return `${asking().machine.kernel.settings.get(path) ?? 0}\n`;
  if (path.startsWith(NETWORK)) return '';
  return fs.readFileSync(path, options);
}

/** In place of `fs.writeFileSync`. */
export function writeFileSync(path: string, data: string, options?: fs.WriteFileOptions): void {
  if (path.startsWith(SETTINGS)) asking().machine.kernel.settings.set(path, data);
  else fs.writeFileSync(path, data, options);
}

/** In place of `fs.existsSync`: settings need no check. */
export function existsSync(path: string): boolean {
  return !path.startsWith(SETTINGS) && fs.existsSync(path);
}

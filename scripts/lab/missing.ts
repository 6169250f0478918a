import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** `root`: namespaces are made directly. `user`: inside a user namespace of their own. */
export type LabMode = 'root' | 'user';

/** Ordinary users often lack the sbin directories, where `ip` and `nft` are. */
export const TOOL_PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin']
  .filter((part) => part !== '')
  .join(delimiter);

const TOOLS: readonly (readonly [tool: string, debianPackage: string])[] = [
  ['unshare', 'util-linux'],
  ['nsenter', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['ip', 'iproute2'],
  ['arping', 'iputils-arping'],
  ['ping', 'iputils-ping'],
  ['ndptool', 'libndp-tools'],
  ['nft', 'nftables'],
  ['conntrack', 'conntrack'],
  ['socat', 'socat'],
];

let known: LabMode | undefined;

/** @returns what this machine lacks to run the lab, as one line that names it, or undefined */
export function labMissing(): string | undefined {
  if (process.platform !== 'linux') return `the lab needs Linux, this is ${process.platform}`;
  const lacking = TOOLS.filter(([tool]) => !hasTool(tool));
  if (lacking.length > 0)
    return `the lab needs ${lacking.map(([tool, pkg]) => `${tool} (package ${pkg})`).join(', ')}`;
  if (labMode() === undefined)
    return 'the lab needs network namespaces: CAP_SYS_ADMIN, or user namespaces for ordinary users';
  return undefined;
}

/**
 * For tests: what to give to `skip`. In CI (`CI=true`) nothing is skipped, so that a runner without the
 * capability fails loudly instead of passing silently.
 */
export function skipLab(): string | false {
  return process.env.CI === 'true' ? false : (labMissing() ?? false);
}

/** @returns whether the program is on TOOL_PATH */
export function hasTool(tool: string): boolean {
  return TOOL_PATH.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @returns how namespaces can be made here; tried once, then remembered */
export function labMode(): LabMode | undefined {
  known ??= (['root', 'user'] as const).find(canUnshare);
  return known;
}

function canUnshare(mode: LabMode): boolean {
  if (mode === 'root' && process.getuid?.() !== 0) return false;
  const flags = unshareFlags(mode);
  const tried = spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', 'tmpfs', '/run'], {
    stdio: 'ignore',
    env: { ...process.env, PATH: TOOL_PATH },
    timeout: 5000,
  });
  return tried.status === 0;
}

/** Flags of `unshare` for namespaces of their own; mounts made inside never reach the machine. */
export function unshareFlags(mode: LabMode): string[] {
  return [mode === 'root' ? '-nm' : '-Urnm', '--propagation', 'private'];
}

import { dirname } from 'node:path';
import { execa } from 'execa';
import type { Config } from '../../common/model.ts';
import type { Source } from '../../common/source.ts';

/** Made by the installer; an lbd that is run by hand is of whoever runs it. */
const SERVICE_USER = 'tandem-lb';
/** A file system that hangs must not hold up a check. */
const TIMEOUT_MS = 5_000;

/** What of a config file is looked at. */
interface Logging extends Pick<Source, 'where' | 'has'> {
  readonly config: Pick<Config, 'frontends'>;
}

interface Verdict {
  readonly warnings: readonly string[];
  /** What could not be looked at, a line each. */
  readonly denied: readonly string[];
}

/**
 * Access logs that lbd could not write on this machine. They are warnings: it serves all the same, and loses their lines.
 *
 * @param user whom lbd runs as, where this machine has it
 */
export async function checkAccessLogs(
  { config, where, has }: Logging,
  user = SERVICE_USER,
): Promise<Verdict> {
  const keys = new Map<string, readonly string[]>();
  for (const { name, accessLog } of config.frontends) {
    const own = ['frontends', name, 'access_log', 'path'];
    if (accessLog !== undefined && accessLog.path !== '')
      keys.set(accessLog.path, has(own) ? own : ['access_log', 'path']);
  }
  const ids = await idsOf(user);
  const warnings: string[] = [];
  const denied: string[] = [];
  for (const [path, key] of keys) {
    const why = await whyNot(path, ids);
    if (why === undefined) continue;
    // Who checks is neither lbd nor root, and may not even see what is there.
    if (ids !== undefined && process.geteuid?.() !== 0) denied.push(`${path}: whether ${user} may write it`);
    else warnings.push(`${where(key)}: warning: ${key.join('.')}: found ${path}, but ${why}`);
  }
  return { warnings, denied };
}

interface Ids {
  readonly uid: string;
  readonly gid: string;
  readonly user: string;
}

/** @returns undefined where there is no such user */
async function idsOf(user: string): Promise<Ids | undefined> {
  const { stdout } = await execa('getent', ['passwd', user], { reject: false, timeout: TIMEOUT_MS });
  const [, , uid, gid] = String(stdout).split(':');
  return uid === undefined || gid === undefined ? undefined : { uid, gid, user };
}

/** The file may come yet, and be moved aside later: both are done in its folder. */
const PROBE = '[ -d "$2" ] || exit 3; if [ -e "$1" ]; then [ -w "$1" ]; else [ -w "$2" ] && [ -x "$2" ]; fi';
const NO_FOLDER = 3;

async function whyNot(path: string, ids: Ids | undefined): Promise<string | undefined> {
  const folder = dirname(path);
  const probe = ['sh', '-c', PROBE, 'sh', path, folder];
  const as =
    ids === undefined || process.geteuid?.() !== 0
      ? []
      : ['setpriv', `--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--init-groups', '--'];
  const [program = '', ...args] = [...as, ...probe];
  const { exitCode } = await execa(program, args, { reject: false, timeout: TIMEOUT_MS });
  if (exitCode === 0) return undefined;
  if (exitCode === NO_FOLDER) return `there is no folder ${folder}; lines will be lost`;
  return `${ids === undefined ? 'this user' : `user ${ids.user}`} cannot write it; lines will be lost`;
}

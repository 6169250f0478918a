import type { Stats } from 'node:fs';
import { lstat, readFile, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { messageOf } from './errors.ts';

const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;
/** Owner of all that belongs to users that a user namespace does not know, such as the root of the machine. */
const OVERFLOW_UID = 65_534;
/** `/proc/self/uid_map` where each user id stands for itself. */
const FIRST_NAMESPACE = '0 0 4294967295';

/**
 * Finds out whether somebody else could exchange what a path leads to: a program that is run with more rights than that
 * somebody has, or a folder with such programs. Looked at are the file, each folder above it, and the same of whatever a
 * symbolic link on the way leads to.
 *
 * @param owners user ids that are trusted; root always is
 * @returns who could, in words that name the path, or why that cannot be known; undefined: nobody
 */
export async function whoElseWrites(
  path: string,
  owners: readonly (number | undefined)[] = [process.geteuid?.()],
): Promise<string | undefined> {
  if (!isAbsolute(path)) return `${path} is not an absolute path`;
  const trusted = new Set([0, ...owners, ...((await ownUserNamespace()) ? [OVERFLOW_UID] : [])]);
  const open = [resolve(path)];
  const seen = new Set<string>();
  try {
    // Fails where links go round in a circle.
    await realpath(path);
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      const stat = await lstat(at);
      if (stat.isSymbolicLink()) open.push(resolve(await realpath(dirname(at)), await readlink(at)));
      else {
        const why = writerOf(stat, trusted);
        if (why !== undefined) return `${at} ${why}`;
      }
      open.push(dirname(at));
    }
  } catch (error) {
    return messageOf(error);
  }
  return undefined;
}

/** A sticky folder, such as /tmp, is everybody's, but its entries are changed by their owners alone. */
function writerOf({ mode, uid, gid }: Stats, trusted: ReadonlySet<number | undefined>): string | undefined {
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  if (!trusted.has(uid)) return `belongs to user id ${uid}`;
  if ((mode & STICKY) !== 0) return undefined;
  if ((mode & OTHERS_WRITE) !== 0) return `may be written by every user (mode ${octal})`;
  if ((mode & GROUP_WRITES) !== 0) return `may be written by group id ${gid} (mode ${octal})`;
  return undefined;
}

async function ownUserNamespace(): Promise<boolean> {
  const map = await readFile('/proc/self/uid_map', 'utf8').catch(() => FIRST_NAMESPACE);
  return map.trim().replaceAll(/\s+/g, ' ') !== FIRST_NAMESPACE;
}

import { execFileSync } from 'node:child_process';
import { deriveAllKeys } from '../../common/cluster-keys.ts';
import { messageOf, OperatorError } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { printable } from '../../common/printable.ts';
import { settlePrograms } from '../../common/programs.ts';
import type { Output } from './commands.ts';

const GROUP_LINE = /^[^:]*:[^:]*:(\d{1,10}):/;

/**
 * Makes the key files of a config's secrets anew.
 *
 * @throws OperatorError where it is not for this user, the config has no cluster, or a secret is refused
 */
export async function deriveKeys({ cluster, file }: Config): Promise<Output> {
  if (process.geteuid?.() !== 0) throw new OperatorError('NOT_ROOT', 'derive-keys is for root');
  if (cluster === undefined) throw new OperatorError('NO_CLUSTER', `${file} has no cluster, so no keys`);
  await settlePrograms();
  const folders = deriveAllKeys(cluster, gidOf);
  const text = folders.map((folder) => `keys are in ${printable(folder)}`);
  return {
    text: [...text, 'Daemons that run use them after "lbctl reload".'].join('\n'),
    json: { ok: true, folders },
  };
}

/** @throws OperatorError where there is none of that name */
function gidOf(group: string): number {
  let line: string;
  try {
    line = execFileSync('getent', ['group', group], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch (error) {
    const why = (error as { status?: unknown }).status === 2 ? '' : `: ${messageOf(error)}`;
    throw new OperatorError('NO_GROUP', `there is no group ${group}, which scripts/install makes${why}`);
  }
  const gid = GROUP_LINE.exec(line)?.[1];
  if (gid === undefined)
    throw new OperatorError('NO_GROUP', `getent does not know the number of group ${group}`);
  return Number(gid);
}

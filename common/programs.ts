import { delimiter } from 'node:path';
import { OperatorError } from './errors.ts';
import { whoElseWrites } from './trusted-path.ts';

/**
 * Where the daemons look for the programs that they run (`ip`, `nft`, `bash` …), which inherit their capabilities. The
 * PATH of whoever starts a daemon may have folders of packages or of a user in front.
 */
export const PROGRAM_FOLDERS = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Other folders in place of those, for systems that are laid out in another way, and for tests. */
const OVERRIDE = 'TANDEM_PROGRAMS';

/** What makes a shell or the dynamic linker run code, or read commands in another way, in each program that we start. */
const CODE_FOR_CHILDREN =
  /^(?:LD_\w+|GCONV_PATH|BASH_ENV|ENV|BASH_FUNC_.*|BASHOPTS|SHELLOPTS|PS4|IFS|CDPATH)$/;

/**
 * Settles where all programs of this process are found from now on, and takes out of its environment what would change
 * what they do. To be called once, before the first one starts.
 *
 * @throws OperatorError `UNSAFE_START` where TANDEM_PROGRAMS names a folder that others may write
 */
export async function settlePrograms(environment: NodeJS.ProcessEnv = process.env): Promise<void> {
  const folders = environment[OVERRIDE] || PROGRAM_FOLDERS;
  if (folders !== PROGRAM_FOLDERS)
    for (const folder of folders.split(delimiter)) {
      const why = await whoElseWrites(folder);
      if (why !== undefined) throw new OperatorError('UNSAFE_START', `${OVERRIDE} is refused: ${why}`);
    }
  environment.PATH = folders;
  for (const name of Object.keys(environment)) if (CODE_FOR_CHILDREN.test(name)) delete environment[name];
}

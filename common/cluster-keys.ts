import { messageOf, OperatorError } from './errors.ts';
import { CURE, hasKeyFolder, keyFolder, readKeyFiles, strangeKeys, writeKeyFiles } from './key-files.ts';
import { deriveKey, type Keys, type Purpose, readSecret, type SecretFiles } from './secret.ts';

/**
 * The keys of a cluster, from the files that root derived for this user, or from the secret where nobody has. Where such
 * files are, the secret is not opened.
 *
 * @returns for each purpose the key of the secret, then that of the one before
 * @throws OperatorError (`SECRET_*`, `KEY_*`), see `readSecret` and `readKeyFile`
 */
export function clusterKeys<P extends Purpose>(
  { name, secretFile, previousSecretFile }: SecretFiles,
  ...purposes: readonly P[]
): Record<P, Keys> {
  const key = keysOf(secretFile, purposes, name);
  const former = previousSecretFile === undefined ? [] : [keysOf(previousSecretFile, purposes, name)];
  return Object.fromEntries(
    purposes.map((purpose): [P, Keys] => [purpose, [key[purpose], ...former.map((old) => old[purpose])]]),
  ) as Record<P, Keys>;
}

function keysOf<P extends Purpose>(
  secretFile: string,
  purposes: readonly P[],
  cluster: string,
): Record<P, Buffer> {
  const keyFor = hasKeyFolder(secretFile)
    ? fromFiles(secretFile, purposes, cluster)
    : fromSecret(secretFile, cluster);
  return Object.fromEntries(purposes.map((purpose) => [purpose, keyFor(purpose)])) as Record<P, Buffer>;
}

function fromFiles<P extends Purpose>(secretFile: string, purposes: readonly P[], cluster: string) {
  const files = readKeyFiles(keyFolder(secretFile), purposes, cluster);
  return (purpose: P) => files[purpose].key;
}

function fromSecret(secretFile: string, cluster: string) {
  try {
    const secret = readSecret(secretFile);
    return (purpose: Purpose) => deriveKey(secret, purpose, cluster);
  } catch (error) {
    if (!(error instanceof OperatorError) || error.code !== 'SECRET_DENIED') throw error;
    throw new OperatorError(error.code, `${error.message}: ${CURE}`);
  }
}

/**
 * Derives the keys of all secrets of a cluster, for daemons that must not read these. By root.
 *
 * @param gidOf the number of a group
 * @returns the folders
 * @throws OperatorError (`SECRET_*`) where one of the secrets is refused; nothing is changed then. Or an Error of the file system
 */
export function deriveAllKeys(
  { name, secretFile, previousSecretFile }: SecretFiles,
  gidOf: (group: string) => number,
): string[] {
  const files = previousSecretFile === undefined ? [secretFile] : [secretFile, previousSecretFile];
  const secrets = files.map((file) => [file, readSecret(file, true)] as const);
  for (const [file, secret] of secrets) writeKeyFiles(file, name, secret, gidOf);
  return files.map(keyFolder);
}

/**
 * What is wrong with the secrets of a cluster, for who checks a config and is not the daemon that reads them.
 *
 * @returns a line for each that the daemons would refuse, or that is not the one which their keys derive from; `denied`:
 *   those at which this user must not look
 */
export function secretProblems({ name, secretFile, previousSecretFile }: SecretFiles): {
  readonly problems: readonly {
    readonly key: 'secret_file' | 'previous_secret_file';
    readonly message: string;
  }[];
  readonly denied: readonly string[];
} {
  const problems: { key: 'secret_file' | 'previous_secret_file'; message: string }[] = [];
  const denied: string[] = [];
  for (const [key, file] of [
    ['secret_file', secretFile],
    ['previous_secret_file', previousSecretFile],
  ] as const) {
    if (file === undefined) continue;
    try {
      const secret = readSecret(file, process.geteuid?.() === 0);
      const strange = hasKeyFolder(file) ? strangeKeys(file, name, secret) : undefined;
      if (strange !== undefined) problems.push({ key, message: strange });
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      if (error.code === 'SECRET_DENIED') denied.push(error.message);
      else problems.push({ key, message: messageOf(error) });
    }
  }
  return { problems, denied };
}

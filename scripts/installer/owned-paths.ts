import { loadConfig } from '../../common/config.ts';
import { problemLines } from '../../common/errors.ts';
import { tlsPaths } from '../../lbd/tls/files.ts';

/**
 * Prints which files of a config belong to whom, one a line: `secret PATH`, `tls PATH`. A path that does not fit on a line
 * is left out. Exit 1, and one line for each problem, where the config cannot be read.
 *
 *     owned-paths.ts CONFIG
 */
try {
  const config = loadConfig(process.argv[2] ?? '', { anyNode: true });
  const { secretFile, previousSecretFile } = config.cluster ?? {};
  const secrets = [secretFile, previousSecretFile].filter((path) => path !== undefined);
  const lines = [
    ...secrets.map((path) => `secret ${path}`),
    ...tlsPaths(config).map((path) => `tls ${path}`),
  ].filter((line) => !line.includes('\n'));
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
} catch (error) {
  for (const problem of problemLines(error)) console.error(problem);
  process.exitCode = 1;
}

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../common/config.ts';
import { ConfigError, messageOf } from '../../common/errors.ts';
import type { Config } from '../../common/model.ts';
import { whoElseWrites } from '../../common/trusted-path.ts';
import { bindsOf, preflight } from '../../lbd/preflight.ts';

/**
 * Finds out whether this machine can run a config, before anything is installed.
 *
 *     host-check.ts [--running] CONFIG       --running: lbd runs, so its own ports are taken
 *
 * Exit 0, or 1 and one line for each problem.
 */
const INTERFACES = '/sys/class/net';

async function problemsOf(file: string, running: boolean): Promise<string[]> {
  let config: Config;
  try {
    config = loadConfig(file);
  } catch (error) {
    if (error instanceof ConfigError)
      return error.problems.map(({ where, message }) => `${where}: ${message}`);
    return [messageOf(error)];
  }
  return [
    ...missingInterfaces(config),
    ...(await openPrograms(config)),
    ...(running ? [] : await takenPorts(config)),
  ];
}

function missingInterfaces({ ha }: Config): string[] {
  if (ha === undefined) return [];
  const used = new Set([
    ...ha.vips.map((vip) => vip.interface),
    ...ha.paths.flatMap((path) => (path.type === 'multicast' ? [path.interface] : [])),
    ...ha.track.interfaces,
  ]);
  const there = readdirSync(INTERFACES).join(', ');
  return [...used]
    .filter((name) => !existsSync(join(INTERFACES, name)))
    .map((name) => `interface ${name} does not exist; this machine has ${there}`);
}

/** The agent runs them with its capabilities, so nobody but root may change them. */
async function openPrograms({ ha }: Config): Promise<string[]> {
  const notify = Object.entries(ha?.notify ?? {}).map(([role, program]) => [`notify ${role}`, program]);
  const moves = ha?.vips.map(({ address, command }) => [`the command of VIP ${address}`, command[0]]) ?? [];
  const problems: string[] = [];
  for (const [what, program] of [...notify, ...moves]) {
    const why = program === undefined ? undefined : await whoElseWrites(program, []);
    if (why !== undefined) problems.push(`${what} must belong to root, and nobody else may write it: ${why}`);
  }
  return problems;
}

/** A frontend on a VIP itself cannot be tried before the sysctls are set. */
function takenPorts(config: Config): Promise<string[]> {
  const vips = new Set(config.ha?.vips.map((vip) => vip.address));
  return preflight(bindsOf(config).filter(({ host }) => !vips.has(host)));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { running: { type: 'boolean', default: false } },
});
const problems = await problemsOf(positionals[0] ?? '/etc/tandem/tandem.yaml', values.running);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

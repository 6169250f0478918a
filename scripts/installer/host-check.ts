import { parseArgs } from 'node:util';
import { loadWithNeeds } from '../../common/config.ts';
import { problemLines } from '../../common/errors.ts';
import { hostFacts, unmetNeeds } from '../../common/host-facts.ts';
import type { Config } from '../../common/model.ts';
import { bindsOf, preflight } from '../../lbd/control/preflight.ts';

/**
 * Finds out whether this machine can run a config, before anything is installed.
 *
 *     host-check.ts [--running] CONFIG       --running: lbd runs, so its own ports are taken
 *
 * Exit 0, or 1 and one line for each problem.
 */
async function problemsOf(file: string, running: boolean): Promise<string[]> {
  try {
    const { config, needs } = loadWithNeeds(file);
    // Only root: the agent runs programs with its capabilities.
    const unmet = await unmetNeeds(needs, await hostFacts(), []);
    return [
      ...unmet.map(({ where, message }) => `${where}: ${message}`),
      ...(running ? [] : await takenPorts(config)),
    ];
  } catch (error) {
    return problemLines(error);
  }
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

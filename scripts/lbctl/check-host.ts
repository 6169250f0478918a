import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { formatEndpoint } from '../../common/address.ts';
import { secretProblems } from '../../common/cluster-keys.ts';
import type { PlacedConfig } from '../../common/config.ts';
import { type LbdStatus, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import type { ConfigProblem } from '../../common/errors.ts';
import { type HostFacts, hostFacts, lameNeeds, unmetNeeds } from '../../common/host-facts.ts';
import { settlePrograms } from '../../common/programs.ts';
import type { Path } from '../../common/source.ts';
import type { NamedBind } from '../../lbd/control/preflight.ts';
import { checkAccessLogs } from './check-access-log.ts';

export const NOT_LOOKED =
  'Its interfaces, programs and secret were not looked for: this machine does not have the address of that node.';

/** A config that is good in itself, and where it is to run. */
export interface Checked extends PlacedConfig {
  /** Of the daemons that may run already. */
  readonly runDir: string;
  /** The operator has named the node: this machine need not be it. */
  readonly chosen: boolean;
}

/** What the daemons would say of this machine at their start. */
export interface HostVerdict {
  /** Whether this machine was looked at: it is the node that the file is checked for. */
  readonly looked: boolean;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
  /** What could not be looked at, a line each. */
  readonly denied: readonly string[];
}

const NOTHING: HostVerdict = { looked: false, problems: [], warnings: [], denied: [] };

/** What the host must have can be looked for where this machine is the node that the file is checked for. */
export async function checkHost(checked: Checked): Promise<HostVerdict> {
  const { config, needs, where } = checked;
  const { cluster } = config;
  // Root runs this with any PATH.
  await settlePrograms();
  const facts = await hostFacts();
  if (facts === undefined) return NOTHING;
  const loops = await loopProblems(checked, facts);
  // Such a file does not say for which machine it is: most likely for this one.
  if (cluster === undefined) return ofSingle(checked, loops);
  if (!facts.addresses.includes(cluster.self.address)) return elsewhere(checked, cluster.self, facts);
  const at = (path: Path, message: string) => problemAt(where, path, message);
  const unmet = await unmetNeeds(needs, facts);
  const secrets = secretProblems(cluster);
  const binds = await bindProblems(checked);
  const logs = await checkAccessLogs(checked);
  return {
    looked: true,
    problems: [
      ...secrets.problems.map(({ key, message }) => at(['cluster', key], message)),
      ...unmet.map((need) => ({ where: need.where, key: need.path.join('.'), message: need.message })),
      ...loops,
      ...binds.taken.map(({ path, message }) => at(path, message)),
    ],
    warnings: [
      ...lameNeeds(needs, facts).map((lame) => `${lame.where}: warning: ${lame.message}`),
      ...logs.warnings,
    ],
    denied: [...secrets.denied, ...binds.denied, ...logs.denied].map((line) => `Not looked at: ${line}`),
  };
}

/** Nothing in the file tells whether it is for this machine: what lbd could not have here is a warning. */
async function ofSingle(checked: Checked, loops: readonly ConfigProblem[]): Promise<HostVerdict> {
  const { taken, denied } = await bindProblems(checked);
  const logs = await checkAccessLogs(checked);
  return {
    ...NOTHING,
    warnings: [
      ...loops.map(({ where, message }) => `${where}: warning: ${message}`),
      ...taken.map(({ path, message }) => `${checked.where(path)}: warning: ${path.join('.')}: ${message}`),
      ...logs.warnings,
    ],
    denied: [...denied, ...logs.denied].map((line) => `Not looked at: ${line}`),
  };
}

/** A machine with the name of the node lacks its address; any other one is not meant. */
function elsewhere(
  { where, chosen }: Checked,
  { name, address }: { readonly name: string; readonly address: string },
  { addresses }: HostFacts,
): HostVerdict {
  const host = hostname();
  // Any machine has those of the loopback network, and the kernel lists one of them.
  if (chosen || address.startsWith('127.') || (host !== name && host.split('.')[0] !== name)) return NOTHING;
  const path = ['cluster', 'nodes', name, 'address'];
  const message =
    `found ${address}, which this machine does not have, though it is ${name} by its name (it has ${addresses.join(', ')}); ` +
    '--for NODE checks the file for another machine';
  return {
    ...NOTHING,
    problems: [problemAt(where, path, message)],
  };
}

function problemAt(where: Checked['where'], path: Path, message: string): ConfigProblem {
  const key = path.join('.');
  return { where: where(path), key, message: `${key}: ${message}` };
}

/** Backends at addresses of this machine from which what they get comes round: lbd would call them down. */
async function loopProblems({ config, where }: Checked, { addresses }: HostFacts): Promise<ConfigProblem[]> {
  const { doorsOf, goesRound } = await import('../../lbd/control/own-doors.ts');
  const doors = doorsOf(config, new Set(addresses));
  return config.pools.flatMap((pool) =>
    pool.backends.flatMap(({ name, address }) => {
      const door = isIP(address.host) === 0 ? undefined : doors(pool.name, address.host, address.port);
      if (door === undefined) return [];
      const message = `found ${formatEndpoint(address)}, an address of this machine ${goesRound(door)}`;
      return [problemAt(where, ['pools', pool.name, 'backends', name, 'address'], message)];
    }),
  );
}

interface BindTrouble {
  readonly path: Path;
  readonly message: string;
}

/** Binds that lbd could not have now. Those of an lbd that runs here are its own. */
async function bindProblems({
  config,
  runDir,
}: Checked): Promise<{ taken: BindTrouble[]; denied: string[] }> {
  const { bindsOf, preflight } = await import('../../lbd/control/preflight.ts');
  const running = await control<LbdStatus>(join(runDir, SOCKETS.lbd), 'GET', '/v1/status').catch(
    () => undefined,
  );
  const taken: BindTrouble[] = [];
  const denied: string[] = [];
  for (const bind of bindsOf(config)) {
    if (running !== undefined && listensAt(running, bind)) continue;
    const [problem] = await preflight([bind]);
    if (problem === undefined) continue;
    // Who checks has not the capabilities of the service.
    if (problem.includes('no permission')) denied.push(problem);
    else taken.push({ path: ['frontends', bind.what.replace('frontend ', ''), 'bind'], message: problem });
  }
  return { taken, denied };
}

/** Whether a running lbd has the port, whatever the address. */
export function listensAt(
  { frontends }: Pick<LbdStatus, 'frontends'>,
  { port, protocol }: NamedBind,
): boolean {
  return Object.values(frontends).some(
    ({ mode, bind }) =>
      (mode === 'udp') === (protocol === 'udp') &&
      bind.some((text) => {
        const [, first, last = first] = /:(\d+)(?:-(\d+))?$/.exec(text) ?? [];
        return port >= Number(first) && port <= Number(last);
      }),
  );
}

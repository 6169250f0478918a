#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/node" "$0" "$@"'
import { parseArgs } from 'node:util';
import { EarlySignals } from '../common/early-signals.ts';

// All else takes a while to load, and a signal may come meanwhile.
const signals = new EarlySignals();
const [
  { loadConfig },
  { failDaemon, UsageError },
  { messageOf, OperatorError },
  { deriveKey, readSecret },
  { VERSION },
  { keyLine },
  { runWitness },
] = await Promise.all([
  import('../common/config.ts'),
  import('../common/daemon.ts'),
  import('../common/errors.ts'),
  import('../common/secret.ts'),
  import('../common/version.ts'),
  import('../ha-agent/witness-keys.ts'),
  import('../ha-agent/witness-program.ts'),
]);

const NAME = 'tandem-witness';
const DEFAULT_PORT = 7473;
const USAGE = `usage: ${NAME} [--key FILE] [--listen ADDRESS:PORT]
       ${NAME} key [--config FILE] [--node NAME]

Grants the lease of the active role to one of two nodes at a time; on a third machine.

  --key FILE             the keys of the clusters (default /etc/tandem/witness.key)
  --listen ADDRESS:PORT  where it is asked over UDP (default: port ${DEFAULT_PORT} of every address)
  key                    prints, on a node, the line for the key file
  --config FILE          configuration of the node (default /etc/tandem/tandem.yaml)
  --node NAME            which node of the cluster this is (default: the host name)
  --help                 show this text
  --version              show the version

SIGHUP: it reads the keys again; what it has granted goes on.`;

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        key: { type: 'string', default: '/etc/tandem/witness.key' },
        listen: { type: 'string', default: `*:${DEFAULT_PORT}` },
        config: { type: 'string', default: '/etc/tandem/tandem.yaml' },
        node: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error).split('. ')[0]);
  }
}

function printKey(config: string, node: string | undefined): void {
  const { cluster, file } = loadConfig(config, { node });
  if (cluster === undefined)
    throw new OperatorError('NO_CLUSTER', `${file} has no cluster, so it has no key`);
  console.log(keyLine(cluster.name, deriveKey(readSecret(cluster.secretFile), 'witness', cluster.name)));
}

try {
  const { values, positionals } = parse();
  const [job, ...more] = positionals;
  if (values.help) console.log(USAGE);
  else if (values.version) console.log(VERSION);
  else if (more.length > 0 || (job !== undefined && job !== 'key'))
    throw new UsageError(`what is "${positionals.join(' ')}"?`);
  else if (job === 'key') printKey(values.config, values.node);
  else await runWitness(values.key, values.listen, signals);
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${NAME}: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
  failDaemon(NAME, error);
}

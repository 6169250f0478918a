#!/usr/bin/env -S node --disable-sigusr1
import { parseArgs } from 'node:util';
import { parseEndpoint } from '../common/address.ts';
import { loadConfig } from '../common/config.ts';
import { failDaemon, settleProcess, UsageError } from '../common/daemon.ts';
import { messageOf, OperatorError } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import { deriveKey, readSecret } from '../common/secret.ts';
import { VERSION } from '../common/version.ts';
import { keyLine, readKeys } from '../ha-agent/witness-keys.ts';
import { WitnessServer } from '../ha-agent/witness-server.ts';

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
  --version              show the version`;

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

async function serve(keyFile: string, listen: string): Promise<void> {
  await settleProcess();
  const address = parseEndpoint(listen);
  if (address === undefined) throw new UsageError(`--listen: found "${listen}", expected ADDRESS:PORT`);
  const identities = readKeys(keyFile);
  if (identities.length === 0) throw new OperatorError('WITNESS_KEY', `${keyFile} has no key`);
  const log = createLogger(NAME, 'witness');
  const server = new WitnessServer({
    identities,
    listen: address.host === '*' ? { port: address.port } : address,
    now: monotonicMs,
    log: (level, text) => log[level](text),
  });
  const manager = new ServiceNotifier();
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      server.close();
      process.exit(0);
    });
  const port = await server.open().catch((error: unknown) => {
    throw new OperatorError('LISTEN', `cannot listen on ${listen}: ${messageOf(error)}`);
  });
  log.info(`listens on port ${port}, and grants leases once those of an earlier witness are over`);
  manager.ready();
}

try {
  const { values, positionals } = parse();
  const [job, ...more] = positionals;
  if (values.help) console.log(USAGE);
  else if (values.version) console.log(VERSION);
  else if (more.length > 0 || (job !== undefined && job !== 'key'))
    throw new UsageError(`what is "${positionals.join(' ')}"?`);
  else if (job === 'key') printKey(values.config, values.node);
  else await serve(values.key, values.listen);
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${NAME}: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
  failDaemon(NAME, error);
}

import { formatEndpoint, parseEndpoint } from '../common/address.ts';
import { settleProcess, UsageError } from '../common/daemon.ts';
import type { EarlySignals } from '../common/early-signals.ts';
import { messageOf, OperatorError } from '../common/errors.ts';
import { monotonicMs } from '../common/events.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import type { LeaseIdentity } from './lease-message.ts';
import { readKeys } from './witness-keys.ts';
import { WitnessServer } from './witness-server.ts';

/**
 * Runs the witness in this process until a signal ends it. SIGHUP has it read its key file again.
 *
 * @param listen ADDRESS:PORT
 * @throws UsageError, and OperatorError where the key file or the address cannot be used
 */
export async function runWitness(keyFile: string, listen: string, signals: EarlySignals): Promise<void> {
  await settleProcess();
  const address = parseEndpoint(listen);
  if (address === undefined) throw new UsageError(`--listen: found "${listen}", expected ADDRESS:PORT`);
  const identities = someKeys(keyFile);
  const log = createLogger('tandem-witness', 'witness');
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
  const bound = await server.open().catch((error: unknown) => {
    throw new OperatorError('LISTEN', `cannot listen on ${listen}: ${messageOf(error)}`);
  });
  const where = formatEndpoint(bound);
  log.info(`listens on ${where}, and grants leases once those of an earlier witness are over`);
  signals.handle('SIGHUP', () => {
    try {
      const next = someKeys(keyFile);
      server.replaceKeys(next);
      log.info(`${keyFile} was read again, keys: ${next.length}; leases that were granted go on`);
    } catch (error) {
      log.warn(`the keys from before stay: ${messageOf(error)}`);
    }
  });
  manager.ready();
}

function someKeys(file: string): LeaseIdentity[] {
  const identities = readKeys(file);
  if (identities.length === 0) throw new OperatorError('WITNESS_KEY', `${file} has no key`);
  return identities;
}

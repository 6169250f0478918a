import { hostname } from 'node:os';
import { join } from 'node:path';
import { ConfigReader } from '../../../common/config-reader.ts';
import { SOCKETS } from '../../../common/control.ts';
import type { DaemonOptions } from '../../../common/daemon.ts';
import type { EarlySignals } from '../../../common/early-signals.ts';
import { listenDescriptor } from '../../../common/listen-fds.ts';
import { createLogger } from '../../../common/logger.ts';
import type { Config } from '../../../common/model.ts';
import { ServiceNotifier } from '../../../common/sd-notify.ts';
import { listenUnix } from '../../../common/unix-socket.ts';
import { monotonicMs } from '../../session/memory.ts';
import { AcceptedConfig } from './accepted-config.ts';
import { HelperServer } from './server.ts';

const CONFIG_PROCESS = new URL('./config-process.ts', import.meta.url);
/** Where the service manager starts it again, it ends when no lbd has been there for so long. */
const IDLE_MS = 30_000;

/** Runs the helper of the kernel engine in this process until a signal ends it, or nobody needs it. */
export async function run(options: DaemonOptions, signals: EarlySignals): Promise<void> {
  const log = createLogger('lbd-kernel', options.node ?? hostname());
  const descriptor = listenDescriptor();
  const manager = new ServiceNotifier();
  const path = join(options.runDir, SOCKETS.kernel);
  const folder = process.env.RUNTIME_DIRECTORY ?? join(options.runDir, 'net');
  const reader = new ConfigReader<Config>(CONFIG_PROCESS, options.config, options.node);
  const configs = new AcceptedConfig(
    async () => (await reader.read()).value,
    join(folder, 'config'),
    (text) => log.warn(text),
  );
  let ends = false;
  const end = () => {
    if (ends) process.exit(0);
    ends = true;
    manager.stopping();
    void server.close().finally(() => process.exit(0));
  };
  const server = new HelperServer({
    configs,
    log: (level, text) => log[level](text),
    onOtherVersion: () => descriptor !== undefined && end(),
  });
  process.once('exit', () => reader.close());
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'lbd-kernel failed');
    process.exit(1);
  });
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  // A config is read when lbd asks for it.
  signals.handle('SIGHUP', () => {});
  if (descriptor === undefined) await listenUnix(server.server, path);
  else {
    server.server.listen({ fd: descriptor });
    setInterval(() => server.idleMs(monotonicMs()) > IDLE_MS && end(), IDLE_MS / 10);
  }
  manager.ready();
  log.info('ready');
}

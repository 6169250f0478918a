import { hostname } from 'node:os';
import { ConfigReader } from '../common/config-reader.ts';
import { type DaemonOptions, failDaemon } from '../common/daemon.ts';
import type { EarlySignals } from '../common/early-signals.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import type { LoadedConfig } from './config-process.ts';
import { ControlPlane } from './control-plane.ts';

/** A request that takes longer than this is cut by a graceful stop. */
const STOP_GRACE_MS = 30_000;

const CONFIG_PROCESS = new URL('./config-process.ts', import.meta.url);

/** Runs `lbd` in this process until a signal ends it. */
export async function run(options: DaemonOptions, signals: EarlySignals): Promise<void> {
  const reader = new ConfigReader<LoadedConfig>(CONFIG_PROCESS, options.config, options.node);
  const read = await reader.read();
  const node = read.value.config.cluster?.self.name ?? options.node ?? hostname();
  const log = createLogger('lbd', node);
  const plane = new ControlPlane(options, read, () => reader.read(), node, log);
  const manager = new ServiceNotifier();
  process.once('exit', () => {
    reader.close();
    plane.removeSockets();
  });
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'lbd failed');
    process.exit(1);
  });

  const stop = () => {
    // The second signal, or one during the start, when nothing is served yet.
    if (!plane.ready) process.exit(0);
    manager.stopping();
    plane.stop(STOP_GRACE_MS).then(
      () => process.exit(0),
      (error: unknown) => failDaemon('lbd', error),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  signals.handle('SIGUSR1', () => plane.reopenLogs());
  await plane.start();
  signals.handle('SIGHUP', () => void plane.reload());
  manager.ready();
}

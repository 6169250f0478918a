import { hostname } from 'node:os';
import { type DaemonOptions, failDaemon } from '../common/daemon.ts';
import type { EarlySignals } from '../common/early-signals.ts';
import { OperatorError, problemLines } from '../common/errors.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import { type StartConfig, StartConfigs } from '../common/start-config.ts';
import { ControlPlane } from './control/control-plane.ts';
import type { LoadedConfig } from './control/loaded-config.ts';

/** A request that takes longer than this is cut by a graceful stop. */
const STOP_GRACE_MS = 30_000;
/** At a stop, so long for the disk to take the config in force. */
const KEEP_MS = 1_000;

const CONFIG_PROCESS = new URL('./config-process.ts', import.meta.url);

/** Runs `lbd` in this process until a signal ends it. */
export async function run(options: DaemonOptions, signals: EarlySignals): Promise<void> {
  const configs = new StartConfigs<LoadedConfig>(CONFIG_PROCESS, options, 'lbd', (text) =>
    log.warn({ kind: 'config' }, text),
  );
  const start = await configs.choose();
  const node = start.read.value.config.cluster?.self.name ?? options.node ?? hostname();
  const log = createLogger('lbd', node);
  const source = {
    load: () => configs.reader.read(),
    keep: (text: string) => configs.keep(text),
    warnings: () => configs.warnings,
  };
  const planeOf = (from: StartConfig<LoadedConfig>) =>
    new ControlPlane({ daemon: options, start: from, source, node, log });
  let plane = planeOf(start);
  const manager = new ServiceNotifier();
  process.once('exit', () => {
    configs.reader.close();
    plane.removeSockets();
  });
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'lbd failed');
    process.exit(1);
  });

  const end = () => void configs.kept(KEEP_MS).then(() => process.exit(0));
  const stop = () => {
    // The second signal, or one during the start, when nothing is served yet.
    if (!plane.ready) return end();
    manager.stopping();
    plane.stop(STOP_GRACE_MS).then(end, (error: unknown) => failDaemon('lbd', error));
  };
  /** A certificate that cannot be used must not keep all else from being served. */
  const startPartly = async (error: unknown) => {
    if (options.strict || !(error instanceof OperatorError && error.code === 'TLS')) throw error;
    plane = planeOf(start);
    await plane.start(true);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  signals.handle('SIGUSR2', () => plane.reopenLogs());
  try {
    await plane.start();
  } catch (error) {
    // Such as a port that is taken: a reload would have been refused for it.
    const former = start.substitute === undefined ? await configs.substitute(problemLines(error)) : undefined;
    if (former === undefined || former.read.fingerprint === start.read.fingerprint) await startPartly(error);
    else {
      plane = planeOf(former);
      // What is wrong with the file may be wrong with both, and is what can be mended.
      await plane.start().catch(() => startPartly(error));
    }
  }
  signals.handle('SIGHUP', () => void plane.reload());
  manager.ready();
}

#!/usr/bin/env -S node --disable-sigusr1
import '../common/no-debugger.ts';
import { hostname } from 'node:os';
import { loadConfig } from '../common/config.ts';
import { type DaemonOptions, failDaemon, runDaemon } from '../common/daemon.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import { ControlPlane } from './control-plane.ts';

/** A request that takes longer than this is cut by a graceful stop. */
const STOP_GRACE_MS = 30_000;

async function run(options: DaemonOptions): Promise<void> {
  const config = loadConfig(options.config, { node: options.node });
  const node = config.cluster?.self.name ?? options.node ?? hostname();
  const log = createLogger('lbd', node);
  const plane = new ControlPlane(options, config, node, log);
  const manager = new ServiceNotifier();
  process.once('exit', () => plane.removeSockets());
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
  process.on('SIGUSR1', () => plane.reopenLogs());
  process.on('SIGHUP', () => void plane.reload());
  await plane.start();
  manager.ready();
}

await runDaemon('lbd', run);

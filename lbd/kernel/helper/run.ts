import { hostname } from 'node:os';
import { join } from 'node:path';
import { AcceptedConfig } from '../../../common/accepted-config.ts';
import type { ReadConfig } from '../../../common/config-process.ts';
import { ConfigReader } from '../../../common/config-reader.ts';
import { SOCKETS } from '../../../common/control.ts';
import type { DaemonOptions } from '../../../common/daemon.ts';
import type { EarlySignals } from '../../../common/early-signals.ts';
import { messageOf } from '../../../common/errors.ts';
import { listenDescriptor } from '../../../common/listen-fds.ts';
import { createLogger } from '../../../common/logger.ts';
import type { Config } from '../../../common/model.ts';
import { ServiceNotifier } from '../../../common/sd-notify.ts';
import { listenUnix } from '../../../common/unix-socket.ts';
import { monotonicMs } from '../../session/memory.ts';
import { ConfigByDigest } from './config-by-digest.ts';
import { HelperServer } from './server.ts';

const CONFIG_PROCESS = new URL('./config-process.ts', import.meta.url);
/** Where the service manager starts it again, it ends when no lbd has been there for so long. */
const IDLE_MS = 30_000;
/** At its end, so long for the disk to take the config in force. */
const KEEP_MS = 1_000;

/** Runs the helper of the kernel engine in this process until a signal ends it, or nobody needs it. */
export async function run(options: DaemonOptions, signals: EarlySignals): Promise<void> {
  const log = createLogger('lbd-kernel', options.node ?? hostname());
  const descriptor = listenDescriptor();
  const manager = new ServiceNotifier();
  const path = join(options.runDir, SOCKETS.kernel);
  const reader = new ConfigReader<Config>(CONFIG_PROCESS, options.config, options.node);
  const accepted = new AcceptedConfig(options.stateDir, 'lbd-kernel', options.config, (text) =>
    log.warn(text),
  );
  const configs = new ConfigByDigest({
    file: () => reader.read(),
    copy: () => readCopy(options, accepted, (text) => log.warn(text)),
    accepted,
  });
  let ends = false;
  const end = () => {
    if (ends) process.exit(0);
    ends = true;
    manager.stopping();
    void server
      .close()
      .then(() => accepted.kept(KEEP_MS))
      .finally(() => process.exit(0));
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

/** @returns undefined where there is no copy, or it cannot be used */
async function readCopy(
  { config, node }: DaemonOptions,
  { path, last }: AcceptedConfig,
  tell: (text: string) => void,
): Promise<ReadConfig<Config> | undefined> {
  if (last === undefined) return undefined;
  const reader = new ConfigReader<Config>(CONFIG_PROCESS, config, node, path);
  try {
    return await reader.read();
  } catch (error) {
    tell(`the config that was accepted last (${path}) cannot be used: ${messageOf(error)}`);
    return undefined;
  } finally {
    reader.close();
  }
}

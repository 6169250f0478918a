import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ReloadAnswer, refusedReload, SOCKETS } from '../common/control.ts';
import { serveControl } from '../common/control-server.ts';
import { type DaemonOptions, failDaemon } from '../common/daemon.ts';
import type { EarlySignals } from '../common/early-signals.ts';
import { problemLines } from '../common/errors.ts';
import { EventLog } from '../common/events.ts';
import { createLogger } from '../common/logger.ts';
import { ReloadQueue } from '../common/reload-queue.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import type { Keys } from '../common/secret.ts';
import { StartConfigs } from '../common/start-config.ts';
import { Agent } from './agent.ts';
import { networkConfig } from './agent-config.ts';
import type { LoadedConfig } from './config-process.ts';
import { controlRoutes } from './control-api.ts';
import { createIdentity } from './heartbeat.ts';
import { leaseIdentities } from './lease-keys.ts';
import { LinuxNetwork } from './linux-network.ts';
import { ROUTES, SettingsFile } from './settings-file.ts';

const CONFIG_PROCESS = new URL('./config-process.ts', import.meta.url);
/** At a stop, when the VIPs are gone, so long for the disk to take the config in force. */
const KEEP_MS = 1_000;

/** Runs the agent in this process until a signal ends it. */
export async function run(options: DaemonOptions, signals: EarlySignals): Promise<void> {
  const configs = new StartConfigs<LoadedConfig>(CONFIG_PROCESS, options, 'ha-agent', (text) =>
    log.warn({ kind: 'config' }, text),
  );
  const { read, substitute } = await configs.choose();
  const { config, keys, leaseKeys } = read.value;
  const { name, self, peer } = config.cluster;
  const identityOf = (keys: Keys) => createIdentity(keys, name, self.name, peer.name);
  const log = createLogger('ha-agent', self.name);
  const socketPath = join(options.runDir, SOCKETS.agent);
  const ownFolder = dirname(socketPath);
  const events = new EventLog('agent');
  const unmet = read.unmet.map(({ where, message }) => `${where}: ${message}`);
  for (const text of [...unmet, ...configs.warnings]) {
    log.warn({ kind: 'host' }, text);
    events.add('host', text);
  }
  const agent = new Agent({
    config,
    identity: identityOf(keys),
    leaseIdentities: leaseIdentities(name, leaseKeys),
    runDir: options.runDir,
    log,
    events,
    substitute,
    createNetwork: (initial, handlers) => {
      const left = new SettingsFile(join(ownFolder, 'former-settings'), handlers.onTrouble);
      const leftRoutes = new SettingsFile(join(ownFolder, 'former-routes'), handlers.onTrouble, ROUTES);
      const onFormerRoutes = (lines: readonly string[]) => {
        leftRoutes.write(lines);
        handlers.onFormerRoutes(lines);
      };
      const onSettings = (former: readonly string[]) => {
        left.write(former);
        handlers.onSettings(former);
      };
      const { address } = initial.cluster.peer;
      return new LinuxNetwork(
        networkConfig(initial),
        address,
        { ...handlers, onSettings, onFormerRoutes },
        left.read(),
        leftRoutes.read(),
      );
    },
  });
  const reloads = new ReloadQueue(async (): Promise<ReloadAnswer> => {
    try {
      const { value, unmet, text } = await configs.reader.read();
      const { config, keys, leaseKeys } = value;
      const leases = leaseIdentities(name, leaseKeys);
      const answer = await agent.reload(config, unmet, identityOf(keys), leases);
      if (answer.outcome !== 'refused') configs.keep(text);
      return answer;
    } catch (error) {
      return agent.refuseReload(problemLines(error));
    }
  });
  const checkReload = async (): Promise<ReloadAnswer> => {
    try {
      const { value, unmet } = await configs.reader.read();
      return agent.checkReload(value.config, unmet, identityOf(value.keys));
    } catch (error) {
      return refusedReload(problemLines(error));
    }
  };
  // The socket comes first: it refuses a second agent of this node before that one touches an address.
  const control = await serveControl(
    socketPath,
    controlRoutes({
      status: () => {
        const status = agent.status();
        return { ...status, warnings: [...status.warnings, ...configs.warnings] };
      },
      events: () => events.list(),
      switchover: (to, group) => agent.switchover(to, group),
      reload: (checkOnly) => (checkOnly ? checkReload() : reloads.ask()),
    }),
  );

  process.once('exit', () => {
    configs.reader.close();
    rmSync(socketPath, { force: true });
  });

  const manager = new ServiceNotifier();
  let stopping = false;
  const stop = () => {
    // The second signal: at once. The guardian removes the VIPs when this process is gone.
    if (stopping) process.exit(1);
    stopping = true;
    manager.stopping();
    agent
      .stop()
      .then(() => control.close())
      .then(() => configs.kept(KEEP_MS))
      .then(
        () => process.exit(0),
        (error: unknown) => failDaemon('ha-agent', error),
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'ha-agent failed');
    process.exit(1);
  });
  await agent.start();
  if (substitute === undefined) configs.keep(read.text);
  signals.handle('SIGHUP', () => void reloads.ask());
  manager.ready();
}

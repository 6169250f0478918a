#!/usr/bin/env -S node --disable-sigusr1
import '../common/no-debugger.ts';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../common/config.ts';
import { SOCKETS } from '../common/control.ts';
import { serveControl } from '../common/control-server.ts';
import { type DaemonOptions, failDaemon, runDaemon } from '../common/daemon.ts';
import { messageOf } from '../common/errors.ts';
import { EventLog } from '../common/events.ts';
import { createLogger } from '../common/logger.ts';
import { ServiceNotifier } from '../common/sd-notify.ts';
import { deriveKey, readSecret } from '../common/secret.ts';
import { Agent } from './agent.ts';
import { networkConfig, requireHa } from './agent-config.ts';
import { controlRoutes } from './control-api.ts';
import { createIdentity } from './heartbeat.ts';
import { LinuxNetwork } from './linux-network.ts';
import { SettingsFile } from './settings-file.ts';

async function run(options: DaemonOptions): Promise<void> {
  const load = () => requireHa(loadConfig(options.config, { node: options.node }));
  const config = load();
  const { name, secretFile, self, peer } = config.cluster;
  const key = deriveKey(readSecret(secretFile), 'heartbeat', name);
  const log = createLogger('ha-agent', self.name);
  const events = new EventLog('agent');
  const agent = new Agent({
    config,
    identity: createIdentity(key, name, self.name, peer.name),
    runDir: options.runDir,
    log,
    events,
    createNetwork: (initial, handlers) => {
      const left = new SettingsFile(join(options.runDir, 'former-settings'), handlers.onTrouble);
      const onSettings = (former: readonly string[]) => {
        left.write(former);
        handlers.onSettings(former);
      };
      const { address } = initial.cluster.peer;
      return new LinuxNetwork(networkConfig(initial), address, { ...handlers, onSettings }, left.read());
    },
  });
  // The socket comes first: it refuses a second agent of this node before that one touches an address.
  const socketPath = join(options.runDir, SOCKETS.agent);
  const control = await serveControl(
    socketPath,
    controlRoutes({
      status: () => agent.status(),
      events: () => events.list(),
      switchover: (to, group) => agent.switchover(to, group),
    }),
  );

  process.once('exit', () => rmSync(socketPath, { force: true }));

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
      .then(
        () => process.exit(0),
        (error: unknown) => failDaemon('ha-agent', error),
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => {
    try {
      void agent.reload(load());
    } catch (error) {
      agent.refuseReload(messageOf(error));
    }
  });
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'ha-agent failed');
    process.exit(1);
  });
  await agent.start();
  manager.ready();
}

await runDaemon('ha-agent', run);

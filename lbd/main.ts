#!/usr/bin/env node
import { hostname } from 'node:os';
import { loadConfig } from '../common/config.ts';
import { ConfigError, messageOf, OperatorError } from '../common/errors.ts';
import { createLogger } from '../common/logger.ts';
import { VERSION } from '../common/version.ts';
import { ControlPlane } from './control-plane.ts';
import { type LbdOptions, parseOptions, USAGE, UsageError } from './options.ts';

/** A request that takes longer than this is cut by a graceful stop. */
const STOP_GRACE_MS = 30_000;

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === 'help') console.log(USAGE);
  else if (options === 'version') console.log(VERSION);
  else await run(options);
}

async function run(options: LbdOptions): Promise<void> {
  const config = loadConfig(options.config, { node: options.node });
  const node = config.cluster?.self.name ?? options.node ?? hostname();
  const log = createLogger('lbd', node);
  const plane = new ControlPlane(options, config, node, log);
  process.once('exit', () => plane.removeSockets());
  process.once('uncaughtException', (err) => {
    log.fatal({ err }, 'lbd failed');
    process.exit(1);
  });

  const stop = () => {
    // The second signal, or one during the start, when nothing is served yet.
    if (!plane.ready) process.exit(0);
    plane.stop(STOP_GRACE_MS).then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => void plane.reload());
  await plane.start();
}

function fail(error: unknown): never {
  if (error instanceof UsageError) {
    console.error(`lbd: ${error.message}\n${USAGE}`);
    process.exit(2);
  }
  if (error instanceof ConfigError)
    for (const { where, message } of error.problems) console.error(`${where}: ${message}`);
  else if (error instanceof OperatorError) console.error(`lbd: ${error.message}`);
  else console.error(`lbd: it failed, and this is a fault of lbd: ${messageOf(error)}`);
  process.exit(1);
}

main().catch(fail);

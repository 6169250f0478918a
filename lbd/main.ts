#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/../scripts/node" "$0" "$@"'
import { EarlySignals } from '../common/early-signals.ts';

// All else takes a while to load, and a signal may come meanwhile.
const signals = new EarlySignals();
const [{ runDaemon }, { run }] = await Promise.all([import('../common/daemon.ts'), import('./run.ts')]);
await runDaemon('lbd', (options) => run(options, signals));

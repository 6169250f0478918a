import { url as debuggerUrl } from 'node:inspector';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigError, messageOf, OperatorError, problemLines } from './errors.ts';
import { printable } from './printable.ts';
import { settlePrograms } from './programs.ts';
import { unsafeStart } from './safe-start.ts';
import { VERSION } from './version.ts';

const RUN_DIR = '/run/tandem';
const STATE_DIR = '/var/lib/tandem';

/** What both daemons are started with. */
export interface DaemonOptions {
  readonly config: string;
  readonly node: string | undefined;
  readonly runDir: string;
  /** For what must outlive a restart. */
  readonly stateDir: string;
  /** No start from the config that was accepted last where the file cannot be used. */
  readonly strict: boolean;
}

/** Wrong arguments; its message is one line. */
export class UsageError extends Error {}

export function usage(name: string): string {
  return `usage: ${name} [--config FILE] [--node NAME] [--run-dir DIR] [--state-dir DIR] [--strict]

  --config FILE   configuration (default /etc/tandem/tandem.yaml)
  --node NAME     which node of the cluster this is (default: the host name)
  --run-dir DIR   where the control sockets are (default ${RUN_DIR})
  --state-dir DIR what is kept over a restart (default ${STATE_DIR}; with --run-dir, DIR/state in that)
  --strict        do not start where the file cannot be used, not even with the one that was accepted last
  --help          show this text
  --version       show the version`;
}

/**
 * @param args without the program's name
 * @returns the options, or what was asked for instead of a run
 * @throws UsageError
 */
export function parseOptions(args: readonly string[]): DaemonOptions | 'help' | 'version' {
  const values = parse(args);
  if (values.help) return 'help';
  if (values.version) return 'version';
  for (const name of ['config', 'node', 'run-dir', 'state-dir'] as const)
    if (values[name] === '') throw new UsageError(`--${name} needs a value`);
  return {
    config: values.config ?? '/etc/tandem/tandem.yaml',
    node: values.node,
    runDir: values['run-dir'] ?? RUN_DIR,
    // Whoever runs it by hand, in places of their own, must not meet what the service keeps.
    stateDir: values['state-dir'] ?? (values['run-dir'] ? join(values['run-dir'], 'state') : STATE_DIR),
    strict: values.strict === true,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        node: { type: 'string' },
        'run-dir': { type: 'string' },
        'state-dir': { type: 'string' },
        strict: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new UsageError(messageOf(error).split('. ')[0]);
  }
}

/**
 * Runs a daemon from its command line. What an operator can mend ends in one clear line a problem and exit 1,
 * wrong arguments in exit 2; never a stack trace. A start that lets others into the process is refused.
 */
export async function runDaemon(name: string, run: (options: DaemonOptions) => Promise<void>): Promise<void> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options === 'help') console.log(usage(name));
    else if (options === 'version') console.log(VERSION);
    else {
      await settleProcess();
      await run(options);
    }
  } catch (error) {
    failDaemon(name, error);
  }
}

/** @throws OperatorError where the start lets others into this process */
export async function settleProcess(): Promise<void> {
  const unsafe = unsafeStart(process.env, process.execArgv, debuggerUrl());
  if (unsafe !== undefined) throw new OperatorError('UNSAFE_START', unsafe);
  await settlePrograms();
}

/** Longer than whoever mends the cause looks at the log, shorter than anybody waits for a service that is mended. */
const PAUSE_MS = 5000;

/**
 * How long a service that cannot start waits before it ends, because its unit starts it again at once, which is for
 * crashes: what an operator has to mend would fill the journal, five times a second.
 *
 * @param environment systemd sets INVOCATION_ID
 */
export function pauseMs(error: unknown, environment: NodeJS.ProcessEnv): number {
  const mendable = error instanceof ConfigError || error instanceof OperatorError;
  return mendable && environment.INVOCATION_ID !== undefined ? PAUSE_MS : 0;
}

/** Ends the process with the message of what was thrown; see `runDaemon`. */
export function failDaemon(name: string, error: unknown): never {
  if (error instanceof UsageError) {
    console.error(`${name}: ${printable(error.message)}\n${usage(name)}`);
    process.exit(2);
  }
  if (error instanceof ConfigError) for (const line of problemLines(error)) console.error(printable(line));
  else if (error instanceof OperatorError) console.error(printable(`${name}: ${error.message}`));
  else console.error(printable(`${name}: it failed, and this is a fault of ${name}: ${messageOf(error)}`));
  // Nothing of this process has to go on: it has not begun, or has stopped.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs(error, process.env));
  process.exit(1);
}

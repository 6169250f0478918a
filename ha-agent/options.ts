import { parseArgs } from 'node:util';
import { messageOf } from '../common/errors.ts';

export const USAGE = `usage: ha-agent [--config FILE] [--node NAME] [--run-dir DIR]

  --config FILE   configuration (default /etc/tandem/tandem.yaml)
  --node NAME     which node of the cluster this is (default: the host name)
  --run-dir DIR   where the control sockets are (default /run/tandem)
  --help          show this text
  --version       show the version`;

export interface AgentCliOptions {
  readonly config: string;
  readonly node: string | undefined;
  readonly runDir: string;
}

/** Wrong arguments; its message is one line. */
export class UsageError extends Error {}

/**
 * @param args without the program's name
 * @returns the options, or what was asked for instead of a run
 * @throws UsageError
 */
export function parseOptions(args: readonly string[]): AgentCliOptions | 'help' | 'version' {
  const values = parse(args);
  if (values.help) return 'help';
  if (values.version) return 'version';
  for (const name of ['config', 'node', 'run-dir'] as const)
    if (values[name] === '') throw new UsageError(`--${name} needs a value`);
  return {
    config: values.config ?? '/etc/tandem/tandem.yaml',
    node: values.node,
    runDir: values['run-dir'] ?? '/run/tandem',
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
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new UsageError(messageOf(error).split('. ')[0]);
  }
}

import { type Logger, pino } from 'pino';
import { openLogOutput } from './log-output.ts';

export type { Logger };

/**
 * The daemon's logger: pino JSON on standard output, which never holds up the process (see `LogOutput`).
 * `TANDEM_LOG` sets the level (trace, debug, info, warn, error, fatal, silent); default info.
 *
 * @param name the process: `lbd` or `ha-agent`
 * @param node name of the node, in every line
 */
export function createLogger(name: string, node: string): Logger {
  return pino(
    {
      name,
      base: { node },
      level: process.env.TANDEM_LOG ?? 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    openLogOutput(1),
  );
}

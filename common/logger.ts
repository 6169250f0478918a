import { type Logger, pino } from 'pino';
import { openLogOutput } from './log-output.ts';
import { printableJson } from './printable.ts';

export type { Logger };

/**
 * The daemon's logger: pino JSON on standard output, which never holds up the process (see `LogOutput`). The journal
 * and terminals get no character that they would act upon.
 * `TANDEM_LOG` sets the level (trace, debug, info, warn, error, fatal, silent); default info.
 *
 * @param name the process: `lbd` or `ha-agent`
 * @param node name of the node, in every line
 */
export function createLogger(name: string, node: string): Logger {
  const output = openLogOutput(1);
  return pino(
    {
      name,
      base: { node },
      level: process.env.TANDEM_LOG ?? 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: (line) => output.write(printableJson(line)) },
  );
}

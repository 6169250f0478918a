import { type Logger, pino } from 'pino';

export type { Logger };

export interface LoggerOptions {
  /**
   * true (default): synchronous, so that the last line before an exit is never lost. false: a log that nobody
   * reads (a full disk, a stuck journal) never holds up the process; lines beyond `MAX_UNWRITTEN_BYTES` are lost.
   */
  readonly blocking?: boolean;
}

const MAX_UNWRITTEN_BYTES = 1024 * 1024;

/**
 * The daemon's logger: pino JSON on standard output. `TANDEM_LOG` sets the level (trace, debug, info, warn,
 * error, fatal, silent); default info.
 *
 * @param name the process: `lbd` or `ha-agent`
 * @param node name of the node, in every line
 */
export function createLogger(name: string, node: string, { blocking = true }: LoggerOptions = {}): Logger {
  const destination = pino.destination({ dest: 1, sync: blocking, maxLength: MAX_UNWRITTEN_BYTES });
  // A full disk or a reader that went away must not end the process: lines are lost then, and that is all.
  destination.on('error', () => {});
  const flushSync = destination.flushSync.bind(destination);
  destination.flushSync = () => {
    try {
      flushSync();
    } catch {
      // At the exit, with nobody left to tell.
    }
  };
  return pino(
    {
      name,
      base: { node },
      level: process.env.TANDEM_LOG ?? 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    destination,
  );
}

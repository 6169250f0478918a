import { fstatSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import { openLogOutput } from './log-output.ts';
import { printableJson } from './printable.ts';

export type { Logger };

/** Priorities of syslog(3) by pino's level. */
const PRIORITIES: Readonly<Record<string, number>> = { 10: 7, 20: 7, 30: 6, 40: 4, 50: 3, 60: 2 };

/** @param line as pino makes it. @returns the line as the journal tells its priority (sd-daemon(3)) */
export function withPriority(line: string): string {
  const priority = PRIORITIES[/^\{"level":(\d+),/.exec(line)?.[1] ?? ''];
  return priority === undefined ? line : `<${priority}>${line}`;
}

/**
 * Whether lines go to the journal (systemd.exec(5)).
 *
 * @param stream JOURNAL_STREAM: device and inode of the socket that systemd has opened
 */
export function toJournal(stream: string | undefined, { dev, ino }: { dev: number; ino: number }): boolean {
  return stream === `${dev}:${ino}`;
}

/**
 * The daemon's logger: pino JSON on standard output, which never holds up the process (see `LogOutput`). The journal
 * and terminals get no character that they would act upon; the journal gets the priority of each line.
 * `TANDEM_LOG` sets the level (trace, debug, info, warn, error, fatal, silent); default info.
 *
 * @param name the process: `lbd` or `ha-agent`
 * @param node name of the node, in every line
 */
export function createLogger(name: string, node: string): Logger {
  const output = openLogOutput(1);
  const told = toJournal(process.env.JOURNAL_STREAM, fstatSync(1)) ? withPriority : (line: string) => line;
  return pino(
    {
      name,
      base: { node },
      level: process.env.TANDEM_LOG ?? 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: (line) => output.write(told(printableJson(line))) },
  );
}

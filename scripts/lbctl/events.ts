import { join } from 'node:path';
import { type ControlEvent, SOCKETS } from '../../common/control.ts';
import { control } from '../../common/control-client.ts';
import { parseDuration } from '../../common/duration.ts';
import { printableAll } from '../../common/printable.ts';
import { paint } from './format.ts';
import { isAlone } from './reload.ts';
import { failureOf, nobodyAnswers } from './status.ts';

/** Events of both daemons by the time at which they happened; what is missing because a daemon is down is said. */
export async function askEvents(runDir: string): Promise<{ events: ControlEvent[]; failures: string[] }> {
  const answers = await Promise.allSettled(
    [SOCKETS.agent, SOCKETS.lbd].map((socket) =>
      control<ControlEvent[]>(join(runDir, socket), 'GET', '/v1/events'),
    ),
  );
  const failed = answers.flatMap((a) => (a.status === 'rejected' ? [failureOf(a.reason)] : []));
  if (failed.length === answers.length) throw nobodyAnswers(failed);
  const events = answers
    .flatMap((a) => (a.status === 'fulfilled' ? a.value : []))
    .toSorted((a, b) => a.mono_ms - b.mono_ms);
  if (answers[0]!.status === 'rejected' && (await isAlone(runDir).catch(() => false)))
    return { events, failures: [] };
  return { events, failures: failed.map(({ error }) => error) };
}

/**
 * @param text how long ago, such as `10m`, or a time such as `2030-01-01T10:00:00Z`
 * @returns milliseconds of the clock; undefined where it is neither
 */
export function sinceMs(text: string, nowMs: number): number | undefined {
  const ago = parseDuration(text);
  if (ago !== undefined) return nowMs - ago;
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}

/** @param local in the time of this machine's zone instead of UTC */
export function eventLine(event: ControlEvent, local: boolean): string {
  const { time, source, kind, text } = printableAll(event);
  const at = local ? localTime(new Date(time)) : time;
  return `${paint('dim', at)} ${source.padEnd(5)} ${kind.padEnd(8)} ${text}`;
}

/** As ISO 8601 has it, with the offset of the zone. */
export function localTime(time: Date, offsetMinutes = -time.getTimezoneOffset()): string {
  if (Number.isNaN(time.getTime())) return String(time);
  const shifted = new Date(time.getTime() + offsetMinutes * 60_000).toISOString().slice(0, -1);
  const two = (value: number) => String(Math.trunc(value)).padStart(2, '0');
  const minutes = Math.abs(offsetMinutes);
  return `${shifted}${offsetMinutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** Finds among the events that a node has those that were not there before: daemons keep the newest ones only. */
export class NewEvents {
  /** By daemon: one that does not answer for a moment still has what it had. */
  readonly #seen = new Map<ControlEvent['source'], ReadonlySet<string>>();

  /** @returns what has come since the last call */
  of(events: readonly ControlEvent[]): ControlEvent[] {
    const fresh = events.filter((event) => !this.#seen.get(event.source)?.has(keyOf(event)));
    for (const [source, own] of Map.groupBy(events, (event) => event.source))
      this.#seen.set(source, new Set(own.map(keyOf)));
    return fresh;
  }
}

function keyOf({ time, mono_ms, kind, text }: ControlEvent): string {
  return `${time} ${mono_ms} ${kind} ${text}`;
}

import { readFileSync } from 'node:fs';

/**
 * Whether a process of this host can go on by itself, as its kernel says (proc(5), `/proc/PID/stat`). One that is slow, or
 * waits for a processor, a page or a disk, can; one that somebody stopped cannot.
 *
 * @returns undefined: it is not known, because there is no such process or it is hidden from this one
 */
export function canGoOn(pid: number): boolean | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name before it may hold anything, a parenthesis too.
    const state = text.charAt(text.lastIndexOf(')') + 2);
    return state === '' ? undefined : !'TZX'.includes(state);
  } catch {
    return undefined;
  }
}

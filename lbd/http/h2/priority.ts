/** In which order answers leave that wait for room (RFC 9218 §4). */
export interface Priority {
  /** 0: first, to 7 */
  readonly urgency: number;
  /** It is of use before it is complete, so that those like it may share. */
  readonly incremental: boolean;
}

/** All there are, so that a request makes none. */
const PRIORITIES: readonly Priority[] = Array.from({ length: 16 }, (_, at) => ({
  urgency: at >>> 1,
  incremental: (at & 1) === 1,
}));
export const DEFAULT_PRIORITY = PRIORITIES[6]!;

/**
 * Reads a Priority field (RFC 9218 §4), which is a dictionary of RFC 9651; what is not known or of another type counts for
 * nothing.
 */
export function readPriority(text: string): Priority {
  if (text === '') return DEFAULT_PRIORITY;
  let { urgency, incremental } = DEFAULT_PRIORITY;
  for (const member of text.split(',')) {
    const [, key, value] = /^[ \t]*([a-z*][a-z0-9_\-.*]*)(?:=([^;]*))?/.exec(member) ?? [];
    if (key === 'u' && value !== undefined && /^[0-7][ \t]*$/.test(value)) urgency = Number(value);
    else if (key === 'i') {
      if (value === undefined || value.trim() === '?1') incremental = true;
      else if (value.trim() === '?0') incremental = false;
    }
  }
  return PRIORITIES[urgency * 2 + (incremental ? 1 : 0)]!;
}

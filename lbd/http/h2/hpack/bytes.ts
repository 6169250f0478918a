/** From so many bytes on, a call into the runtime costs less than a turn of a loop for each. */
const MANY = 32;

/** Copies bytes that are mostly few. They do not overlap. */
export function copyBytes(from: Buffer, start: number, end: number, to: Buffer, at: number): void {
  if (end - start >= MANY) from.copy(to, at, start, end);
  else for (let p = start; p < end; p++) to[at++] = from[p]!;
}

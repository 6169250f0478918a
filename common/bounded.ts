/**
 * Waits for something, but not for longer than a time.
 *
 * @param ms 0 or less: not at all
 * @returns what it settled with; undefined: it has not within that time @throws what it was rejected with
 */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  // What is rejected later, nobody hears of.
  work.catch(() => {});
  return await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/**
 * Signals a process that may end at any moment, as the short-lived helpers of a daemon do.
 *
 * @returns false: it had ended already
 * @throws Error of Node where the signal is not allowed
 */
export function signalPid(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Signals each process of a list once, those included that the others start meanwhile: for SIGSTOP and SIGKILL, after
 * which a process starts no more.
 *
 * @param list who is there now
 * @returns who got it
 */
export function signalAll(list: () => readonly number[], name: 'SIGSTOP' | 'SIGKILL'): ReadonlySet<number> {
  const seen = new Set<number>();
  const signalled = new Set<number>();
  for (;;) {
    const fresh = list().filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return signalled;
    for (const pid of fresh) {
      seen.add(pid);
      if (signalPid(pid, name)) signalled.add(pid);
    }
  }
}

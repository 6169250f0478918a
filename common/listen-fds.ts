/** Descriptors of the service manager begin here (sd_listen_fds(3)). */
const FIRST = 3;

/**
 * The socket on which the service manager has this daemon listen, where it does (systemd.socket(5)).
 *
 * @param environment LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES are read and removed, so that no child process takes them for
 *   its own
 * @returns its descriptor; undefined: there is none, or not exactly one
 */
export function listenDescriptor(environment: NodeJS.ProcessEnv = process.env): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  return Number(pid) === process.pid && count === '1' ? FIRST : undefined;
}

import { mkdir, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { basename, dirname } from 'node:path';
import { SOCKETS } from './control.ts';
import { messageOf, OperatorError } from './errors.ts';

/** `sun_path` holds 108 bytes with the closing NUL (unix(7)). */
const MAX_PATH_BYTES = 107;
/** Owner and group may connect (0660). */
const SOCKET_UMASK = 0o117;

/**
 * Makes a server listen on a unix socket with mode 0660. Creates its folder (0750) in the run directory (0755), both if they are
 * missing, and replaces the socket file that a daemon left behind when it was killed, but never one that still answers.
 *
 * @throws OperatorError `RUN_DIR_TAKEN`, `RUN_DIR`: one line that names the path
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new OperatorError(
      'RUN_DIR',
      `${path}: the path of a unix socket may have ${MAX_PATH_BYTES} bytes, this one has ${Buffer.byteLength(path)}; choose a shorter --run-dir`,
    );
  }
  const directory = dirname(path);
  try {
    await mkdir(dirname(directory), { recursive: true, mode: 0o755 });
    await mkdir(directory, { mode: 0o750 }).catch(ignoreExisting);
    if (await answers(path)) {
      throw new OperatorError(
        'RUN_DIR_TAKEN',
        `another ${daemonOf(path)} runs with this run directory: ${path} answers (--run-dir chooses another one)`,
      );
    }
    await unlink(path).catch(ignoreMissing);
    await listen(server, path);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError('RUN_DIR', `cannot listen on ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // The file is made inside listen(), so the mask holds for it alone and there is no moment at which the
    // socket has wider permissions.
    const before = process.umask(SOCKET_UMASK);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

/** Whether a process accepts connections on this socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false);
      else if (error.code === 'EAGAIN')
        resolve(true); // its queue is full, so somebody holds it
      else reject(error);
    });
  });
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** @returns the name of the daemon to which a socket belongs, by its path */
export function daemonOf(path: string): string {
  switch (basename(path)) {
    case basename(SOCKETS.agent):
      return 'ha-agent';
    case basename(SOCKETS.kernel):
      return 'lbd-kernel';
    default:
      return 'lbd';
  }
}

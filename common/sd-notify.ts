import { messageOf } from './errors.ts';
import { errorText, libc, MSG, SOCK } from './libc.ts';

/** Beats a watchdog period: two may be late or lost (sd_watchdog_enabled(3) advises half the period). */
const BEATS_PER_PERIOD = 3;
const AF_UNIX = 1;
/** `sun_path` (unix(7)). */
const MAX_PATH_BYTES = 107;

/**
 * Tells the service manager that this daemon is ready, alive, or stopping (sd_notify(3)); does nothing where no
 * service manager asks for it. It speaks for itself, without a program in between, so that the unit need not listen to
 * any other process of the service. A message is one datagram that is never waited for. The beats come from the event
 * loop, so a daemon that hangs is killed and started again.
 */
export class ServiceNotifier {
  readonly #address: Buffer | undefined;
  readonly #watchdogMs: number;
  readonly #onTrouble: (text: string) => void;
  #told = '';
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param environment NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read and removed, so that no child process
   *   speaks for the daemon
   * @param onTrouble told once when the service manager cannot be reached, which then ends the daemon after a while
   */
  constructor(
    environment: NodeJS.ProcessEnv = process.env,
    onTrouble: (text: string) => void = (text) => console.error(text),
  ) {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: period, WATCHDOG_PID: pid } = environment;
    const mine = pid === undefined || Number(pid) === process.pid;
    const periodMs = Number(period) / 1000;
    this.#address = socket ? addressOf(socket) : undefined;
    this.#watchdogMs = mine && periodMs > 0 ? periodMs / BEATS_PER_PERIOD : 0;
    this.#onTrouble = onTrouble;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  }

  /** The daemon does its work from now on; the beats of the watchdog begin. */
  ready(): void {
    this.#send('READY=1');
    if (this.#watchdogMs > 0 && this.#address !== undefined)
      this.#timer = setInterval(() => this.#send('WATCHDOG=1'), this.#watchdogMs).unref();
  }

  /** The daemon was asked to stop and does so; the beats go on until it is gone. */
  stopping(): void {
    this.#send('STOPPING=1');
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #send(line: string): void {
    if (this.#address === undefined) return;
    let trouble: string | undefined;
    try {
      trouble = sendDatagram(this.#address, Buffer.from(line));
    } catch (error) {
      trouble = messageOf(error);
    }
    if (trouble !== undefined && trouble !== this.#told)
      this.#onTrouble(`the service manager does not hear of this daemon: ${trouble}`);
    this.#told = trouble ?? '';
  }
}

/** `struct sockaddr_un`; a name that begins with "@" is in the abstract namespace. */
function addressOf(socket: string): Buffer | undefined {
  const path = Buffer.from(socket);
  if (path.length > MAX_PATH_BYTES || !/^[/@]./s.test(socket)) return undefined;
  const abstract = socket.startsWith('@');
  if (abstract) path[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, path, Buffer.alloc(abstract ? 0 : 1)]);
}

/** A socket for each: the manager may have made its own anew. @returns what went wrong, if anything did */
function sendDatagram(address: Buffer, bytes: Buffer): string | undefined {
  const { socket, connect, send, close, errno } = libc();
  const fd = socket(AF_UNIX, SOCK.datagram | SOCK.nonBlocking | SOCK.closeOnExec, 0);
  if (fd < 0) return errorText(errno());
  const failed =
    connect(fd, address, address.length) < 0 ||
    send(fd, bytes, BigInt(bytes.length), MSG.dontWait | MSG.noSignal) < 0;
  const trouble = failed ? errorText(errno()) : undefined;
  close(fd);
  return trouble;
}

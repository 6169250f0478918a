import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('sd-notify.sh', import.meta.url));
/** Beats a watchdog period: two may be late or lost (sd_watchdog_enabled(3) advises half the period). */
const BEATS_PER_PERIOD = 3;
/** A helper that has not read so much is stuck; more would wait in vain. */
const MAX_UNREAD_BYTES = 256;

/**
 * Tells the service manager that this daemon is ready, alive, or stopping (sd_notify(3)); does nothing where no
 * service manager asks for it. Each call writes a line to one long-lived helper and never waits; a helper that ended
 * is started again by the next line. The beats come from the event loop, so a daemon that hangs is killed and
 * started again.
 */
export class ServiceNotifier {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number;
  readonly #program: string;
  #helper: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param environment NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read and removed, so that no child process
   *   speaks for the daemon
   * @param program the shell that runs the helper; another one only in tests
   */
  constructor(environment: NodeJS.ProcessEnv = process.env, program = 'bash') {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: period, WATCHDOG_PID: pid } = environment;
    const mine = pid === undefined || Number(pid) === process.pid;
    const periodMs = Number(period) / 1000;
    this.#socket = socket;
    this.#watchdogMs = mine && periodMs > 0 ? periodMs / BEATS_PER_PERIOD : 0;
    this.#program = program;
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  }

  /** The daemon does its work from now on; the beats of the watchdog begin. */
  ready(): void {
    this.#send('READY=1');
    if (this.#watchdogMs > 0 && this.#socket !== undefined)
      this.#timer = setInterval(() => this.#send('WATCHDOG=1'), this.#watchdogMs).unref();
  }

  /** The daemon was asked to stop and does so; the beats go on until it is gone. */
  stopping(): void {
    this.#send('STOPPING=1');
  }

  close(): void {
    clearInterval(this.#timer);
    this.#helper?.stdin?.end();
    this.#helper = undefined;
  }

  #send(line: string): void {
    if (this.#socket === undefined) return;
    this.#helper ??= this.#start(this.#socket);
    const { stdin } = this.#helper;
    if (stdin !== null && stdin.writableLength <= MAX_UNREAD_BYTES) stdin.write(`${line}\n`);
  }

  #start(socket: string): ChildProcess {
    const helper = spawn(this.#program, [SCRIPT], {
      stdio: ['pipe', 'ignore', 'inherit'],
      env: { PATH: process.env.PATH, NOTIFY_SOCKET: socket },
    });
    const forget = () => {
      if (this.#helper === helper) this.#helper = undefined;
    };
    helper.on('error', forget).on('exit', forget);
    helper.stdin?.on('error', forget);
    helper.unref();
    (helper.stdin as unknown as { unref(): void }).unref();
    return helper;
  }
}

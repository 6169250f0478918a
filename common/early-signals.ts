/**
 * By default they kill the process, or (SIGUSR1) open a port for Node's debugger, through which every user of this machine
 * could run code in it. `--disable-sigusr1`, by which all that starts us starts Node, covers the time before there is a
 * listener; it blocks the signal for good, so that nothing can be asked for by it. SIGUSR2 is what log rotation sends.
 */
const HELD = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

export type HeldSignal = (typeof HELD)[number];

/**
 * Listens for signals from the first line of a daemon on, when nobody is there yet to do what they ask for: one that
 * comes while the daemon loads and starts must neither kill it nor be lost.
 */
export class EarlySignals {
  readonly #handlers = new Map<HeldSignal, () => void>();
  readonly #came = new Set<HeldSignal>();

  /** @param source another one only in tests */
  constructor(source: Pick<NodeJS.EventEmitter, 'on'> = process) {
    for (const name of HELD) source.on(name, () => this.#receive(name));
  }

  /** Has a signal handled from now on, at once where it has come already. What has no handler is ignored. */
  handle(name: HeldSignal, handler: () => void): void {
    this.#handlers.set(name, handler);
    if (this.#came.delete(name)) handler();
  }

  #receive(name: HeldSignal): void {
    const handler = this.#handlers.get(name);
    if (handler === undefined) this.#came.add(name);
    else handler();
  }
}

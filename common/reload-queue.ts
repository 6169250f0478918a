/**
 * Runs reloads one after the other. Who asks while one runs gets the next one, together with all others who ask until it
 * begins: the file may have changed since it was read, but it need not be read once for each of them.
 */
export class ReloadQueue<T> {
  readonly #run: () => Promise<T>;
  #running: Promise<T> | undefined;
  #next: Promise<T> | undefined;

  /** @param run never rejects */
  constructor(run: () => Promise<T>) {
    this.#run = run;
  }

  ask(): Promise<T> {
    if (this.#running === undefined) return this.#begin();
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Promise<T> {
    const running = this.#run();
    this.#running = running;
    void running.then(() => {
      if (this.#running === running) this.#running = undefined;
    });
    return running;
  }
}

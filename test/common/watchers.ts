/** Waits for conditions that hold after something told of a change, as a status does through a callback. */
export class Watchers {
  readonly #looks = new Set<() => void>();

  /** To be given to whatever tells: looks at all conditions again. */
  readonly changed = (): void => {
    for (const look of this.#looks) look();
  };

  /** @returns once the condition holds, at once where it does already */
  until(well: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!well()) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }
}

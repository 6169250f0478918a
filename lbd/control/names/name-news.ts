/** What happens to many names at once, such as the death of a name server, is told together. */
const GATHER_MS = 100;
/** Names that a line lists; more only make it unreadable. */
const MAX_NAMED = 6;

type Level = 'info' | 'warn';

/** Gathers what happened to names for a moment, and tells it in a line for each thing that happened. */
export class NameNews {
  readonly #tell: (level: Level, text: string) => void;
  readonly #gathered: Readonly<Record<Level, (readonly [name: string, text: string])[]>> = {
    info: [],
    warn: [],
  };
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (level: Level, text: string) => void) {
    this.#tell = tell;
  }

  /** @param text what happened to it; what is equal for several names is told once */
  add(level: Level, name: string, text: string): void {
    this.#gathered[level].push([name, text]);
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    this.#timer = undefined;
    for (const level of ['warn', 'info'] as const)
      for (const [text, of] of Map.groupBy(this.#gathered[level].splice(0), ([, text]) => text))
        this.#tell(
          level,
          lineOf(
            of.map(([name]) => name),
            text,
          ),
        );
  }
}

/** A line such as `host names a.test, b.test and 3 more: no name server answers`. */
export function lineOf(names: readonly string[], text: string): string {
  const more = names.length - MAX_NAMED;
  const shown = `${names.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  return `host ${names.length === 1 ? 'name' : 'names'} ${shown}: ${text}`;
}

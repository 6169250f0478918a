/** Prometheus text format. https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Samples that become bytes at one go: some 0.2 ms. */
const CHUNK_SAMPLES = 512;

/** Values by label name; or their text, where several samples have the same ones, see `labelText`. */
export type Labels = string | Readonly<Record<string, string>>;

export type MetricKind = 'gauge' | 'counter';

export type AddSample = (labels: Labels, value: number) => void;

/**
 * A page of metrics in Prometheus' text format, kept as bytes and made of small pieces, so that whoever fills it can do so
 * in slices: neither adding a sample nor taking the pieces is the work of more than a moment, however many there are.
 */
export class Exposition {
  readonly #families: { pieces(): readonly Buffer[] }[] = [];

  /** A metric that goes up and down. Its samples stay together, whenever they are added. */
  readonly gauge = (name: string, help: string): AddSample => this.#family('gauge', name, help);
  /** One that only grows. */
  readonly counter = (name: string, help: string): AddSample => this.#family('counter', name, help);

  /** Whole metrics as bytes, which stay as they are. */
  append(pieces: readonly Buffer[]): void {
    this.#families.push({ pieces: () => pieces });
  }

  /** All that was added, in the order of the families. */
  pieces(): Buffer[] {
    return this.#families.flatMap((family) => family.pieces());
  }

  #family(kind: MetricKind, name: string, help: string): AddSample {
    const family = new Family(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`);
    this.#families.push(family);
    return (labels, value) => {
      const text = typeof labels === 'string' ? labels : labelText(labels);
      family.add(text === '' ? `${name} ${value}\n` : `${name}{${text}} ${value}\n`);
    };
  }
}

class Family {
  readonly #done: Buffer[] = [];
  #lines: string[];

  constructor(head: string) {
    this.#lines = [head];
  }

  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length < CHUNK_SAMPLES) return;
    this.#flush();
  }

  pieces(): Buffer[] {
    this.#flush();
    return this.#done;
  }

  #flush(): void {
    if (this.#lines.length > 0) this.#done.push(Buffer.from(this.#lines.join('')));
    this.#lines = [];
  }
}

/** Labels of a sample, escaped. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(',');
}

function escaped(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value;
}

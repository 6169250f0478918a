import type { PoolView } from '../../../../lbd/dispatch/balancer/types.ts';

export interface FakeBackend {
  readonly name: string;
  weight: number;
  up: boolean;
  active: number;
  latencyMs: number;
}

/** A pool in plain memory. Change its backends with `change`, which moves the generation on. */
export class FakePool implements PoolView {
  readonly backends: readonly FakeBackend[];
  generation = 1;

  /** @param weights weight by name, in config order */
  constructor(weights: Readonly<Record<string, number>>) {
    this.backends = Object.entries(weights).map(([name, weight]) => ({
      name,
      weight,
      up: true,
      active: 0,
      latencyMs: 0,
    }));
  }

  get size(): number {
    return this.backends.length;
  }

  name(index: number): string {
    return this.backends[index]!.name;
  }

  available(index: number): boolean {
    const backend = this.backends[index]!;
    return backend.up && backend.weight > 0;
  }

  weight(index: number): number {
    return this.backends[index]!.weight;
  }

  active(index: number): number {
    return this.backends[index]!.active;
  }

  latencyMs(index: number): number {
    return this.backends[index]!.latencyMs;
  }

  change(name: string, what: Partial<Omit<FakeBackend, 'name'>>): void {
    Object.assign(this.backends.find((backend) => backend.name === name)!, what);
    this.generation++;
  }
}

/** Backends s0, s1, … with weight 1. */
export function equalWeights(count: number): Record<string, number> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`s${index}`, 1]));
}

/** The same pool with its backends in reverse order of the config. */
export function reversed(weights: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(weights).reverse());
}

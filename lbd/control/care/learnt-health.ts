import type { Registers } from '../../session/registers.ts';
import type { HealthReport } from '../health/monitor.ts';
import { healthKey, healthValue, parseHealth } from '../replicated.ts';

/** The part of `HealthMonitor` that learns. */
export interface Seedable {
  seed(id: string, healthy: boolean, why: string): void;
  report(id: string): HealthReport;
}

/**
 * Health that travels between the nodes: what either one saw last stands in for a backend that a node has not
 * checked yet, so that a node that just started knows what its peer knows.
 */
export class LearntHealth {
  readonly #registers: Pick<Registers, 'get' | 'set'>;
  readonly #monitor: Seedable;

  constructor(registers: Pick<Registers, 'get' | 'set'>, monitor: Seedable) {
    this.#registers = registers;
    this.#monitor = monitor;
  }

  /** This node's own checks came to a result. */
  learn(id: string, report: Pick<HealthReport, 'state' | 'why'>): void {
    if (report.state === 'unknown') return;
    const healthy = report.state === 'healthy';
    if (parseHealth(this.#registers.get(healthKey(id)))?.healthy === healthy) return;
    try {
      this.#registers.set(healthKey(id), healthValue({ healthy, why: report.why }));
    } catch (error) {
      // The registers are full: the peer makes its own checks, this only saves it the wait for the first.
      if (!(error instanceof RangeError)) throw error;
    }
  }

  /** Takes what the registers know for a backend without a result of its own. */
  seed(id: string): void {
    if (this.#monitor.report(id).state !== 'unknown') return;
    const learnt = parseHealth(this.#registers.get(healthKey(id)));
    if (learnt !== undefined)
      this.#monitor.seed(id, learnt.healthy, `as last seen by the pair: ${learnt.why}`);
  }
}

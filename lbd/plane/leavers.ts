import type { UpstreamBackend } from '../dispatch/upstream.ts';
import type { Frontend } from '../entry/frontend.ts';

/** A client connection, or a flow, as it may be ended. */
export interface Endable {
  readonly frontend: Frontend;
  /** At work on it now. */
  readonly backend: UpstreamBackend | undefined;
  readonly idle: boolean;
  closeIfIdle(): void;
  cut(): void;
}

/** Frontends and backends that a reload has taken out, and until when what is open of them may go on in this worker. */
export class Leavers {
  readonly #untilMs = new Map<Frontend | UpstreamBackend, number>();

  /** @param untilMs by the clock of `end` */
  add(leaver: Frontend | UpstreamBackend, untilMs: number): void {
    this.#untilMs.set(leaver, untilMs);
  }

  /** Ends what is still open of those whose time is over. @param open gets all connections; asked only when there are any */
  end(nowMs: number, open: () => readonly Endable[]): void {
    if (this.#untilMs.size === 0) return;
    const over = new Set<Frontend | UpstreamBackend>();
    for (const [leaver, untilMs] of this.#untilMs) if (untilMs <= nowMs) over.add(leaver);
    if (over.size === 0) return;
    for (const leaver of over) this.#untilMs.delete(leaver);
    for (const connection of open())
      if (over.has(connection.frontend) && connection.idle) connection.closeIfIdle();
      else if (over.has(connection.frontend)) connection.cut();
      else if (connection.backend !== undefined && over.has(connection.backend)) connection.cut();
  }
}

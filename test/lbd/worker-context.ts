import type { WorkerContext } from '../../lbd/entry/frontend.ts';
import { Deadlines } from '../../lbd/io/deadlines.ts';
import { SessionTable } from '../../lbd/session/table.ts';
import { createSharedBuffers, SharedState } from '../../lbd/shared/shared.ts';

/** A session table of its own, with the place of worker 0. */
export function sessionTable(capacity = 1024): SessionTable {
  return new SessionTable(SessionTable.create(capacity), 1, { hashKey: Uint32Array.of(1, 2, 3, 4) });
}

/** What the only worker gives its frontends, without that worker. */
export function workerContext(own: Partial<WorkerContext> = {}): WorkerContext {
  return {
    shared: new SharedState(createSharedBuffers(1), 0),
    deadlines: new Deadlines(),
    loopId: 'lbd',
    nextRequestId: () => '',
    stopping: false,
    retiring: false,
    ...own,
  };
}

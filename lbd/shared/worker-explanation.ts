import type { ExplainedPick, Explanation } from '../../common/control.ts';

/** What one worker can say: all but how the control plane sees the backends. */
export interface WorkerExplanation extends Omit<Explanation, 'candidates' | 'picks'> {
  readonly candidates: readonly (Pick<
    Explanation['candidates'][number],
    'backend' | 'available' | 'weight' | 'active' | 'latency_ms'
  > & {
    /** What the control plane does not know of: why it takes no new clients right now; empty: nothing. */
    readonly full: string;
  })[];
  /** undefined: no backend is asked for. */
  readonly pick: Omit<ExplainedPick, 'worker'> | undefined;
}

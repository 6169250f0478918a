/** What `flow-clients.ts` says. */
export interface FlowAnswer {
  readonly clients: number;
  /** Who was reset, closed or led to another backend. */
  readonly troubles: readonly string[];
  readonly backends: readonly string[];
}

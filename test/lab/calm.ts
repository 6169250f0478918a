import type { ClientsOptions } from '../../scripts/lab/clients.ts';

/**
 * What tests do slower than a benchmark or a real pair, so that a late process of a machine that is slow and busy with
 * other things is no finding: a node is dead after 1.5 s of silence, and fewer clients come.
 */
export const HEARTBEAT_MS = 500;
export const LOAD: ClientsOptions = { intervalMs: 10, visitMs: 20, askMs: 200 };
/** Where nothing may be lost the clients are patient, so that what fails was lost and not late. */
export const PATIENT: ClientsOptions = { ...LOAD, timeoutMs: 20_000 };

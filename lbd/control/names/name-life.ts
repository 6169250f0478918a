import { canonicalIp, ipFamily, isOneHost, unmapped } from '../../../common/address.ts';
import type { ResolverConfig } from '../../../common/model.ts';

/** What came of a question. */
export type Answer =
  | {
      readonly kind: 'found';
      /** IP addresses as they came, of either family. */
      readonly addresses: readonly string[];
      /** The shortest one of their records. */
      readonly ttlMs: number;
      /** Addresses of this family were asked for in vain: whether there are any is not known. */
      readonly unanswered?: 4 | 6 | undefined;
    }
  /** No address: the name does not exist, or nobody says so. */
  | { readonly kind: 'none'; readonly why: string };

/** What is known of a host name. A value: the functions below make the next one. */
export interface NameLife {
  /** The last good ones, sorted; empty: there never were any. */
  readonly addresses: readonly string[];
  /** So many more were found than are used. */
  readonly leftOut: number;
  /** When these were last found to be right. */
  readonly goodMs: number;
  /** Why the latest question has found nothing; empty: it has found something, or there was none. */
  readonly trouble: string;
  /** Questions in a row that found nothing. */
  readonly failures: number;
  /** When it is to be asked for; infinite while it is. */
  readonly askMs: number;
}

/** More addresses of one name are left out. */
export const MAX_ADDRESSES = 64;
/** Between two questions that find nothing, growing from the first to the second. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 10_000;

/** A name that was never asked for. */
export function newName(nowMs: number): NameLife {
  return { addresses: [], leftOut: 0, goodMs: nowMs, trouble: '', failures: 0, askMs: nowMs };
}

/** It is being asked for. */
export function asked(life: NameLife): NameLife {
  return { ...life, askMs: Number.POSITIVE_INFINITY };
}

/**
 * After an answer. Addresses that were once found stay until others are: a name server that fails, or that has lost a
 * name, must not end what works. Whether they are still of use is for the health checks to say.
 */
export function afterAnswer(
  life: NameLife,
  answer: Answer,
  nowMs: number,
  { minTtlMs, maxTtlMs }: Pick<ResolverConfig, 'minTtlMs' | 'maxTtlMs'>,
): NameLife {
  const found = answer.kind === 'found' ? usable(answer.addresses) : [];
  if (answer.kind === 'none' || found.length === 0) {
    const failures = life.failures + 1;
    const pauseMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10), LAST_RETRY_MS, maxTtlMs);
    const trouble = answer.kind === 'none' ? answer.why : 'it has no address that can be connected to';
    return { ...life, trouble, failures, askMs: nowMs + pauseMs };
  }
  const kept = life.addresses.filter((address) => ipFamily(address) === answer.unanswered);
  const all = usable([...found, ...kept]);
  return {
    addresses: all.slice(0, MAX_ADDRESSES),
    leftOut: Math.max(0, all.length - MAX_ADDRESSES),
    goodMs: nowMs,
    trouble: '',
    failures: 0,
    askMs: nowMs + Math.min(Math.max(answer.ttlMs, minTtlMs), maxTtlMs),
  };
}

/** Those of one host, each once, sorted so that equal answers are equal lists. */
function usable(addresses: readonly string[]): string[] {
  const ips = addresses.map((address) => canonicalIp(address)).filter((ip) => ip !== undefined);
  return [...new Set(ips.filter(isOneHost).map(unmapped))].toSorted();
}

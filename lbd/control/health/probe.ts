import { formatDuration } from '../../../common/duration.ts';
import { messageOf } from '../../../common/errors.ts';
import { LOCAL_ERRORS } from '../../../common/local-errors.ts';
import type { HealthConfig } from '../../../common/model.ts';
import { trackingFill } from '../../kernel/tracking-fill.ts';
import type { PoolTls } from '../../tls/backend-tls.ts';

/** One backend to check. */
export interface BackendTarget {
  /** `pool/backend`. */
  readonly id: string;
  /** As in the config: a name or an IP address. */
  readonly host: string;
  /** IP addresses of the host now; empty: its name has not been resolved yet, or `nowhere` says why. */
  readonly addresses: readonly string[];
  /** Why there is no address to check; undefined: there is one, or the first answer about its name has not come yet. */
  readonly nowhere?: string | undefined;
  /** What it gets would come round. */
  readonly leadsBack?: boolean;
  /** The backend's own port; `config.port` goes before it. */
  readonly port: number;
  readonly config: HealthConfig;
  /** undefined: in the clear. */
  readonly tls?: PoolTls | undefined;
  /** Version of the PROXY header that it expects; undefined: none. */
  readonly sendProxy?: 'v1' | 'v2' | undefined;
  /** It is asked by HTTP/2. */
  readonly http2?: boolean;
}

/** One address of a backend to check. */
export interface HealthTarget extends Omit<BackendTarget, 'addresses' | 'nowhere' | 'leadsBack'> {
  readonly address: string;
}

export interface ProbeResult {
  /**
   * `drain`: the backend works, but asks for no new clients. `inconclusive`: this node could not check, which
   * says nothing about the backend and must not take it out.
   */
  readonly outcome: 'pass' | 'fail' | 'drain' | 'inconclusive';
  /** In words for people; bounded in length. */
  readonly detail: string;
  /** `deep` only. */
  readonly failingChecks: readonly string[];
}

/** One check, over within the target's time-out. Never rejects. An aborted one may say anything. */
export type Probe = (target: HealthTarget, signal: AbortSignal) => Promise<ProbeResult>;

export function passed(detail: string, failingChecks: readonly string[] = []): ProbeResult {
  return { outcome: 'pass', detail, failingChecks };
}

export function failed(detail: string, failingChecks: readonly string[] = []): ProbeResult {
  return { outcome: 'fail', detail, failingChecks };
}

/** @param why this node could not check */
function inconclusive(why: string): ProbeResult {
  return { outcome: 'inconclusive', detail: `not checked: ${why}`, failingChecks: [] };
}

/** An attempt under way. */
export interface Attempt {
  /** Frees whatever the attempt holds. */
  stop(): void;
  /** What it is busy with, for a time-out: `while connecting`. */
  stage(): string;
  /** Whether anything came back from the backend. */
  heard(): boolean;
}

/** From here on the kernel may have dropped what the check sent: it was full a moment ago. */
const FULL_SHARE = 0.98;
/** Errors that a dropped packet shows as. */
const DROPPED: ReadonlySet<string> = new Set(['EPERM', 'ETIMEDOUT']);
const FULL: ProbeResult = inconclusive(
  "the connection tracking of this node's kernel is full (nf_conntrack_max)",
);

/**
 * Runs an attempt until it settles, its time is up or the signal aborts it; then stops it.
 *
 * @param fill of the kernel's connection tracking, 0 to 1; another one only in tests
 */
export function runBounded(
  timeoutMs: number,
  signal: AbortSignal,
  begin: (settle: (result: ProbeResult) => void) => Attempt,
  fill: () => number = trackingFill,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    let attempt: Attempt | undefined;
    let settled = false;
    const settle = (result: ProbeResult) => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      attempt?.stop();
      resolve(result);
    };
    const abort = () => settle({ outcome: 'inconclusive', detail: 'cancelled', failingChecks: [] });
    const expire = () => {
      if (attempt?.heard() === false && fill() >= FULL_SHARE) return settle(FULL);
      const limit = formatDuration(timeoutMs).replace(/(?<=\d)(?=[a-z])/, ' ');
      settle(failed(`timed out after ${limit} ${attempt?.stage() ?? ''}`.trimEnd()));
    };
    // After this process was held up, timers run before the sockets are read: let an answer that is there win.
    const timer = setTimeout(() => setImmediate(expire), timeoutMs);
    signal.addEventListener('abort', abort);
    attempt = begin(settle);
    if (settled) attempt.stop();
    else if (signal.aborted) abort();
  });
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed',
  ETIMEDOUT: 'no answer from the host',
  EHOSTUNREACH: 'no route to the host',
  EHOSTDOWN: 'host is down',
  ENETUNREACH: 'network unreachable',
  ENETDOWN: 'network is down',
  EACCES: 'connecting is forbidden',
  EPERM: 'connecting is forbidden',
};

/** What OpenSSL says: number, library and function are nobody's, and behind the reason there may be a file. */
const OPENSSL = /error:[0-9A-F]{8}:[^:\n]*:[^:\n]*:([^:\n]+)/;

/** What a failed connection means. @param fill as in `runBounded` */
export function resultOfError(error: NodeJS.ErrnoException, fill: () => number = trackingFill): ProbeResult {
  const code = error.code ?? '';
  const local = LOCAL_ERRORS[code];
  if (local !== undefined) return inconclusive(local);
  if (DROPPED.has(code) && fill() >= FULL_SHARE) return FULL;
  if (code.startsWith('HPE_')) return failed(`not a valid HTTP answer: ${messageOf(error)}`.slice(0, 200));
  const tls = OPENSSL.exec(messageOf(error))?.[1];
  if (tls !== undefined) return failed(`the TLS handshake failed: ${tls}`.slice(0, 200));
  return failed(WORDS[code] ?? (messageOf(error) || code).slice(0, 200));
}

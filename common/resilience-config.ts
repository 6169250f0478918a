import { z } from 'zod';
import { duration, integer, LONGEST_MS, mapping, parsed, yesNo } from './fields.ts';

/**
 * What a pool does when backends fail: what may be written, what it becomes. The names are those of Envoy where it
 * has one.
 */

export interface RetryConfig {
  /** No connection to the backend came about: nothing was sent, so any request may go to another one. */
  readonly connect: boolean;
  /** http: the backend ended the connection, or reset it, before it answered. */
  readonly reset: boolean;
  /** http: `timeouts.response` went by without an answer. */
  readonly timeout: boolean;
  /** http: responses that are thrown away for another try. */
  readonly statuses: readonly number[];
  /** Further tries after the first one. */
  readonly attempts: number;
  /** Retries under way at the same time, as a part of the pool's requests in flight. 0 to 1. */
  readonly budgetShare: number;
  /** So many may be under way in any case. */
  readonly budgetMin: number;
}

/** Passive health: a backend that fails its clients is left out for a while, whatever its checks say. */
export interface OutlierConfig {
  /** Answers of 500 and above in a row; 0: off. */
  readonly consecutive5xx: number;
  /** Failed connects, resets and time-outs in a row; 0: off. */
  readonly consecutiveFailures: number;
  /** Mean response time of an interval over the median of the others; 0: off. */
  readonly latencyFactor: number;
  readonly intervalMs: number;
  /** The first time out; the n-th lasts n times as long. */
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  /** Part of the pool that may be out at the same time. 0 to 1; one backend always may, if there is another. */
  readonly maxEjectedShare: number;
}

/** Circuit breaker: what all workers together may have open towards one pool; 0: no limit. */
export interface BreakerConfig {
  /** Connections to backends, idle ones too. */
  readonly connections: number;
  /** Requests or clients that wait for their backend connection. */
  readonly pending: number;
  /** Requests (http), connections (tcp) or flows (udp) in flight. */
  readonly requests: number;
}

export interface ResilienceConfig {
  readonly retry: RetryConfig;
  readonly outlier: OutlierConfig | undefined;
  readonly limits: BreakerConfig;
  /** A backend that comes back gets its full share after so long; 0: at once. */
  readonly slowStartMs: number;
  /** Below this part of healthy backends all are used; 0: off. */
  readonly panicShare: number;
}

const CAUSES = ['connect', 'reset', 'timeout'] as const;

/** `20%` as 0.2. */
const percentage = parsed(
  'a percentage from 0% to 100%',
  (input) => {
    const value = Number(input.slice(0, -1));
    return value <= 100 ? value / 100 : undefined;
  },
  /^\d{1,3}%$/,
);
const count = integer(0, 1_000_000);
const status = integer(500, 599);
const cause = z.union([z.enum(CAUSES), status], {
  error: 'connect, reset, timeout or a status from 500 to 599',
});
const FACTOR = '0 (off) or a number from 1.5 to 100';

const outlierKeys = mapping({
  consecutive_5xx: integer(0, 1000)
    .default(5)
    .describe('Mode http: answers of 500 and above in a row; 0: not looked at.'),
  consecutive_failures: integer(0, 1000)
    .default(5)
    .describe(
      'Failed connects, resets and time-outs in a row (mode udp: messages of its host that nobody listens, without an answer in between); 0: not looked at.',
    ),
  latency_factor: z
    .union([z.literal(0), z.number().min(1.5, { error: FACTOR }).max(100, { error: FACTOR })], {
      error: FACTOR,
    })
    .default(0)
    .describe(
      'Mode http: a backend is left out whose answers took, over an `interval`, so many times as long as the median of the others: at least 50 ms at the mean, and 20 answers each.',
    ),
  interval: duration(100, 3_600_000)
    .prefault('10s')
    .describe(
      'How long answers are averaged for `latency_factor`. Each interval in which a backend behaves takes one time off those for which it was left out in a row.',
    ),
  base_ejection_time: duration(100, LONGEST_MS)
    .prefault('30s')
    .describe('How long a backend is left out, times the number of times in a row.'),
  max_ejection_time: duration(100, LONGEST_MS)
    .prefault('5m')
    .describe('How long it is left out at most; not below `base_ejection_time`.'),
  max_ejected: percentage
    .prefault('50%')
    .describe(
      'Part of the pool that may be left out at the same time. One backend always may, the last that takes clients never.',
    ),
});

/** Keys of a pool. */
export const resilience = {
  retry: z
    .union(
      [
        z.literal(false),
        mapping({
          on: z
            .array(cause, { error: 'a list of connect, reset, timeout and statuses' })
            .default(['connect'])
            .meta({
              description:
                'Causes. `connect`: nothing was sent. `reset`: the connection ended before the answer. `timeout`: no answer within `timeouts.response`. A status: this answer. Mode tcp: `connect` alone. All but `connect` only for idempotent methods (RFC 9110 section 9.2.2), and bodies that have not left or came whole with the head in at most 8 KiB.',
              'x-expected': 'a list of `connect`, `reset`, `timeout` and statuses from 500 to 599',
              'x-example': '[connect, reset, 503]',
            }),
          attempts: integer(0, 10).default(2).describe('Further tries after the first one.'),
          budget: percentage
            .prefault('20%')
            .describe(
              "Retries in flight stay below this part of the pool's requests in flight. What was not sent costs none.",
            ),
          budget_min: count.default(3).describe('So many retries may be in flight in any case.'),
        }),
      ],
      { error: 'false or { on: [connect, reset, 503], attempts: 2 }' },
    )
    .prefault({})
    .meta({
      description: 'When another backend gets a request that failed. `false`: never. Modes http and tcp.',
      'x-default': 'on, with the defaults of its keys',
    }),
  outlier: z
    .union([yesNo, outlierKeys], { error: 'true, false or { consecutive_5xx: 5, … }' })
    .prefault(false)
    .meta({
      description:
        'Leaves out for a while (`ejected`) a backend that fails its clients, although its checks succeed. `true`: with the defaults.',
      'x-example': '{ consecutive_5xx: 5, latency_factor: 5 }',
    }),
  limits: mapping({
    connections: count
      .default(0)
      .describe(
        'Connections to the backends (udp: flows), idle ones too, which make room first; 0: no limit.',
      ),
    pending: count
      .default(0)
      .describe('Requests or clients that wait for a connection to be made; 0: no limit.'),
    requests: count.default(0).describe('Requests (tcp: connections, udp: flows) in flight; 0: no limit.'),
  })
    .prefault({})
    .describe(
      'Circuit breaker over all workers: what is more gets a 503 (tcp: a reset, udp: no answer) at once.',
    ),
  slow_start: duration(0, LONGEST_MS)
    .prefault('0s')
    .describe(
      'A backend that comes back gets from a tenth to all of its clients over this time, whatever the algorithm. Stuck clients come at once. 0s: off.',
    ),
  panic: percentage
    .prefault('0%')
    .describe(
      'Below this part of healthy backends all are used, but those that an operator took out. 0%: off.',
    ),
};

const poolKeys = z.object(resilience);
type Shape = z.output<typeof poolKeys>;

/** The config of a pool's checked shape. */
export function resilienceOf({ retry, outlier, limits, slow_start, panic }: Shape): ResilienceConfig {
  return {
    retry: retryOf(retry),
    outlier: outlierOf(outlier),
    limits,
    slowStartMs: slow_start,
    panicShare: panic,
  };
}

function retryOf(retry: Shape['retry']): RetryConfig {
  const on = retry === false ? [] : retry.on;
  return {
    connect: on.includes('connect'),
    reset: on.includes('reset'),
    timeout: on.includes('timeout'),
    statuses: on.filter((one) => typeof one === 'number'),
    attempts: retry === false ? 0 : retry.attempts,
    budgetShare: retry === false ? 0 : retry.budget,
    budgetMin: retry === false ? 0 : retry.budget_min,
  };
}

function outlierOf(outlier: Shape['outlier']): OutlierConfig | undefined {
  if (outlier === false) return undefined;
  const it = outlier === true ? outlierKeys.parse({}) : outlier;
  return {
    consecutive5xx: it.consecutive_5xx,
    consecutiveFailures: it.consecutive_failures,
    latencyFactor: it.latency_factor,
    intervalMs: it.interval,
    baseEjectionMs: it.base_ejection_time,
    maxEjectionMs: it.max_ejection_time,
    maxEjectedShare: it.max_ejected,
  };
}

import t from 'tap';
import type { RetryConfig } from '../../../common/resilience-config.ts';
import { type NoRetry, noRetry, type TryFacts } from '../../../lbd/dispatch/retry.ts';

const config: RetryConfig = {
  connect: true,
  reset: true,
  timeout: false,
  statuses: [503],
  attempts: 2,
  budgetShare: 0.2,
  budgetMin: 3,
};
const facts: TryFacts = {
  failure: 'reset',
  status: 0,
  idempotent: true,
  replayable: true,
  tries: 1,
  retrying: 0,
  active: 0,
};
const BUDGET = 'retry budget is used up';
const SENT = 'sent already';

t.test('whether a request goes to another backend', async (t) => {
  const cases: [rule: string, change: Partial<TryFacts>, refused: NoRetry | undefined][] = [
    ['a reset', {}, undefined],
    ['a cause that is not listed', { failure: 'timeout' }, 'not a cause to retry'],
    ['a listed status', { failure: 'status', status: 503 }, undefined],
    ['another status', { failure: 'status', status: 502 }, 'not a cause to retry'],
    ['not idempotent', { idempotent: false }, SENT],
    ['its body is gone', { replayable: false }, SENT],
    ['nothing was sent', { failure: 'connect', idempotent: false, replayable: false }, undefined],
    ['the last attempt', { tries: 2 }, undefined],
    ['one more', { tries: 3 }, 'no attempts left'],
    ['one more that was not sent', { failure: 'connect', tries: 3 }, 'no attempts left'],
    ['few requests: three retries are always allowed', { active: 4, retrying: 2 }, undefined],
    ['and a fourth is not', { active: 4, retrying: 3 }, BUDGET],
    ['of a hundred requests twenty', { active: 100, retrying: 19 }, undefined],
    ['and not more', { active: 100, retrying: 20 }, BUDGET],
    ['what was not sent costs nothing', { failure: 'connect', active: 100, retrying: 90 }, undefined],
  ];
  for (const [rule, change, refused] of cases)
    t.equal(noRetry(config, { ...facts, ...change }), refused, rule);
});

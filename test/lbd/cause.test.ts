import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CAUSES, type Cause, causeOf } from '../../lbd/cause.ts';

t.test('the README has a line for each cause, with its words, and no other', async (t) => {
  const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
  const [, table = ''] = /\n\| `cause` \|.*\n\|.*\n((?:\|.*\n)+)/.exec(readme) ?? [];
  const rows = [...table.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, cause, words]) => [cause, words]);
  t.strictSame(rows, Object.entries(CAUSES));
});

t.test('the cause of an answer', async (t) => {
  const cases: readonly [status: number, sentence: string, cause: Cause][] = [
    [408, 'the request took too long', 'head_timeout'],
    [504, 'the request took too long', 'total_timeout'],
    [504, 'no backend could be reached: ETIMEDOUT', 'connect_timeout'],
    [502, 'no backend could be reached: ECONNREFUSED', 'connect_failed'],
    [502, 'backend closed the connection', 'backend_closed'],
    [502, 'backend failed: ECONNRESET', 'backend_closed'],
    [502, 'invalid response: bare line feed', 'bad_response'],
    [503, 'the pool has as many requests as it may', 'breaker_open'],
    [503, 'the pool has as many backend connections as it may', 'breaker_open'],
    [431, 'too many fields', 'head_too_large'],
    [400, 'bare line feed', 'bad_request'],
    [417, 'unsupported Expect', 'bad_request'],
    [501, 'CONNECT is not supported', 'bad_request'],
    [505, 'unsupported HTTP version', 'bad_request'],
    [502, 'something new', 'other'],
    [503, 'something new', 'other'],
  ];
  for (const [status, sentence, cause] of cases)
    t.equal(causeOf(status, sentence), cause, `${status} ${sentence}`);
});

import t from 'tap';
import type { FlowRole } from '../../../lbd/flow/flow-roles.ts';
import { type Roles, roleSteps } from '../../../lbd/flow/role-steps.ts';

/** Of two VIPs, by their first letters: `as` is active for `v`, standby for `w`. */
function roles(letters: string): Roles {
  const names: Readonly<Record<string, FlowRole>> = { a: 'active', s: 'standby', f: 'finishing' };
  return new Map([...letters].map((letter, i) => [['v', 'w'][i]!, names[letter]!]));
}

const letters = (it: Roles) => [...it.values()].map((role) => role[0]).join('');

for (const [what, held, waiting, told, isSettled, now, later] of [
  ['nothing waits where all is written', 'ss', undefined, 'as', true, ['as'], undefined],
  ['a node that becomes active waits for what is being written', 'ss', undefined, 'as', false, ['ss'], 'as'],
  ['it waits for nothing when it ceases to be', 'as', undefined, 'ss', false, ['ss'], undefined],
  ['nor when it stays what it is', 'as', undefined, 'as', false, ['as'], undefined],
  ['the same is told again', 'ss', 'as', 'as', false, ['ss'], 'as'],
  ['active that is over before it began counts', 'ss', 'as', 'ss', false, ['as', 'ss'], undefined],
  ['also where all is written by then', 'ss', 'as', 'ss', true, ['as', 'ss'], undefined],
  ['also where it carries flows to their end', 'ss', 'as', 'fs', false, ['as', 'fs'], undefined],
  ['also where the VIP is gone by then', 'ss', 'as', 's', false, ['as', 's'], undefined],
  ['another VIP waits on', 'ss', 'aa', 'sa', false, ['as', 'ss'], 'sa'],
  ['what ceases does not wait for what begins', 'as', undefined, 'sa', false, ['ss'], 'sa'],
  ['more comes while it waits', 'ss', 'as', 'aa', false, ['ss'], 'aa'],
  ['at the start', '', undefined, 'as', false, ['ss'], 'as'],
] as const)
  t.test(what, async (t) => {
    const steps = roleSteps(roles(held), waiting && roles(waiting), roles(told), isSettled);
    t.strictSame([steps.now.map(letters), steps.later && letters(steps.later)], [now, later]);
  });

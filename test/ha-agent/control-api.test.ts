import t from 'tap';
import type { AgentStatus } from '../../common/control.ts';
import { ControlError } from '../../common/control-server.ts';
import { OperatorError } from '../../common/errors.ts';
import { controlRoutes } from '../../ha-agent/control-api.ts';

function post(
  body: unknown,
  switchover: (to: string | undefined, group: string | undefined) => Promise<string>,
): Promise<unknown> {
  const routes = controlRoutes({
    status: () => ({}) as AgentStatus,
    events: () => [],
    switchover,
    reload: () => Promise.reject(new Error('not asked')),
  });
  const route = routes.find(({ path }) => path === '/v1/switchover')!;
  return Promise.resolve(route.handle({ params: {}, query: new URLSearchParams(), body }));
}

const echo = (to: string | undefined, group: string | undefined) => Promise.resolve(`${group} to ${to}`);

t.test('switchover: with a node, without, and with nonsense', async (t) => {
  t.same(await post({ to: 'lb2' }, echo), { text: 'undefined to lb2' });
  t.same(await post({ group: 'blue' }, echo), { text: 'blue to undefined' });
  t.same(await post({}, echo), { text: 'undefined to undefined' });
  t.same(await post(undefined, echo), { text: 'undefined to undefined' });
  for (const body of ['lb2', 7, { to: 7 }, { to: null }, { group: 7 }])
    await t.rejects(
      post(body, echo),
      new ControlError(400, 'expected { "to": "NODE", "group": "GROUP" } or no body'),
    );
});

t.test('a refusal is a 409 with its reason', async (t) => {
  const refuse = () => Promise.reject(new OperatorError('NO_SWITCHOVER', 'lb2 is not heard'));
  await t.rejects(post({}, refuse), new ControlError(409, 'lb2 is not heard'));
});

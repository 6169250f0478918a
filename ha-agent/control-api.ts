import type { AgentStatus, ControlEvent, ReloadAnswer } from '../common/control.ts';
import { ControlError, type ControlRoute } from '../common/control-server.ts';
import { messageOf } from '../common/errors.ts';
import { reloadRoute } from '../common/reload-route.ts';

export interface AgentControl {
  status(): AgentStatus;
  events(): ControlEvent[];
  /** @throws OperatorError when it cannot be done */
  switchover(to: string | undefined, group: string | undefined): Promise<string>;
  reload(checkOnly: boolean): Promise<ReloadAnswer>;
}

/** The routes of `agent.sock`, which `lbctl` calls. */
export function controlRoutes(control: AgentControl): ControlRoute[] {
  return [
    { method: 'GET', path: '/v1/status', handle: () => control.status() },
    { method: 'GET', path: '/v1/events', handle: () => control.events() },
    reloadRoute((checkOnly) => control.reload(checkOnly)),
    {
      method: 'POST',
      path: '/v1/switchover',
      handle: async ({ body }) => {
        const { to, group } = targetOf(body);
        try {
          return { text: await control.switchover(to, group) };
        } catch (error) {
          throw new ControlError(409, messageOf(error));
        }
      },
    },
  ];
}

/** Body: nothing, or `{ "to": "node name", "group": "group name" }`, each of them optional. */
function targetOf(body: unknown): { to: string | undefined; group: string | undefined } {
  if (body !== undefined && body !== null && typeof body !== 'object') throw unexpected();
  const { to, group } = (body ?? {}) as Record<string, unknown>;
  for (const value of [to, group]) if (value !== undefined && typeof value !== 'string') throw unexpected();
  return { to: to as string | undefined, group: group as string | undefined };
}

function unexpected(): ControlError {
  return new ControlError(400, 'expected { "to": "NODE", "group": "GROUP" } or no body');
}

import type { AgentStatus, ControlEvent } from '../common/control.ts';
import { ControlError, type ControlRoute } from '../common/control-server.ts';
import { messageOf } from '../common/errors.ts';

export interface AgentControl {
  status(): AgentStatus;
  events(): ControlEvent[];
  /** @throws OperatorError when it cannot be done */
  switchover(to: string | undefined): Promise<string>;
}

/** The routes of `agent.sock`, which `lbctl` calls. */
export function controlRoutes(control: AgentControl): ControlRoute[] {
  return [
    { method: 'GET', path: '/v1/status', handle: () => control.status() },
    { method: 'GET', path: '/v1/events', handle: () => control.events() },
    {
      method: 'POST',
      path: '/v1/switchover',
      handle: async ({ body }) => {
        const to = targetOf(body);
        try {
          return { text: await control.switchover(to) };
        } catch (error) {
          throw new ControlError(409, messageOf(error));
        }
      },
    },
  ];
}

/** Body: nothing, or `{ "to": "node name" }`. */
function targetOf(body: unknown): string | undefined {
  if (body === undefined || body === null) return undefined;
  const to = typeof body === 'object' ? (body as Record<string, unknown>).to : body;
  if (to === undefined) return undefined;
  if (typeof to === 'string' && typeof body === 'object') return to;
  throw new ControlError(400, 'expected { "to": "NODE" } or no body');
}

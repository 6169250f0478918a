import type { ReloadAnswer } from './control.ts';
import { ControlError, type ControlRoute } from './control-server.ts';

/** `POST /v1/reload` of both daemons, see `ReloadAnswer`. Body: nothing, or `{ "check": true }`. */
export function reloadRoute(reload: (checkOnly: boolean) => Promise<ReloadAnswer>): ControlRoute {
  return { method: 'POST', path: '/v1/reload', handle: ({ body }) => reload(isCheck(body)) };
}

function isCheck(body: unknown): boolean {
  const { check = false, ...others } = (body ?? {}) as Record<string, unknown>;
  if (typeof check !== 'boolean' || Object.keys(others).length > 0)
    throw new ControlError(400, 'expected { "check": true } or no body');
  return check;
}

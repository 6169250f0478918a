import type {
  BackendAnswer,
  ControlEvent,
  LbdStatus,
  ReloadAnswer,
  SessionRow,
} from '../../common/control.ts';
import { ControlError, type ControlRoute } from '../../common/control-server.ts';
import { count } from '../../common/count.ts';
import { IGNORING_WEIGHTS } from '../../common/model.ts';
import { reloadRoute } from '../../common/reload-route.ts';
import { noSuch } from '../../common/suggest.ts';
import type { Backends } from './care/backends.ts';
import { isAdminState, isWeight } from './replicated.ts';

const MAX_SESSIONS = 10_000;
const DEFAULT_SESSIONS = 100;

export interface ControlApi {
  status(): LbdStatus;
  events(): ControlEvent[];
  reload(checkOnly: boolean): Promise<ReloadAnswer>;
  readonly backends: Pick<Backends, 'algorithm' | 'has' | 'ids' | 'set' | 'status'>;
  readonly sessions: {
    /** Live entries. */
    size(): number;
    rows(limit: number): SessionRow[];
    clear(): void;
  };
  /** An operator asked for something; one line. */
  tell(kind: 'backend' | 'sessions', text: string): void;
}

/** The routes of `lbd.sock`, which `lbctl` calls. */
export function controlRoutes(api: ControlApi): ControlRoute[] {
  return [
    { method: 'GET', path: '/v1/status', handle: () => api.status() },
    { method: 'GET', path: '/v1/events', handle: () => api.events() },
    reloadRoute((checkOnly) => api.reload(checkOnly)),
    {
      method: 'POST',
      path: '/v1/backends/:pool/:backend',
      handle: ({ params, body }) => changeBackend(api, `${params.pool}/${params.backend}`, body),
    },
    {
      method: 'GET',
      path: '/v1/sessions',
      handle: ({ query }) => {
        const limit = limitOf(query.get('limit'));
        return { entries: api.sessions.size(), rows: api.sessions.rows(limit) };
      },
    },
    {
      method: 'DELETE',
      path: '/v1/sessions',
      handle: () => {
        const cleared = api.sessions.size();
        api.sessions.clear();
        api.tell('sessions', `the session table was cleared by the operator: ${count(cleared, 'session')}`);
        return { cleared };
      },
    },
  ];
}

function changeBackend(api: ControlApi, id: string, body: unknown): BackendAnswer {
  const { backends } = api;
  if (!backends.has(id)) throw new ControlError(404, noSuch('backend', id, backends.ids()));
  const change = changeOf(body);
  const asked = [
    ...(change.admin === undefined ? [] : [change.admin]),
    ...(change.weight === undefined ? [] : [`weight ${change.weight ?? 'of the config'}`]),
  ];
  api.tell('backend', `${id}: the operator asks for ${asked.join(' and ')}`);
  backends.set(id, change);
  const algorithm = backends.algorithm(id);
  const isIgnored = !!change.weight && algorithm !== undefined && IGNORING_WEIGHTS.has(algorithm);
  return {
    ...backends.status(id),
    ...(isIgnored && {
      note: `${algorithm}, the algorithm of the pool, ignores every weight but 0`,
    }),
  };
}

function changeOf(body: unknown): Parameters<Backends['set']>[1] {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ControlError(400, 'expected a JSON object with "admin", "weight" or both');
  const { admin, weight, ...others } = body as Record<string, unknown>;
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw new ControlError(400, `unknown key ${quote(other)}; expected "admin", "weight" or both`);
  if (admin === undefined && weight === undefined)
    throw new ControlError(400, 'nothing to change; expected "admin", "weight" or both');
  if (admin !== undefined && !isAdminState(admin))
    throw new ControlError(400, `admin is ${quote(admin)}; expected "ready", "drain" or "maint"`);
  if (weight !== undefined && weight !== null && !isWeight(weight))
    throw new ControlError(
      400,
      `weight is ${quote(weight)}; expected a whole number from 0 to 256, or null for the weight of the config`,
    );
  return { admin, weight };
}

function limitOf(text: string | null): number {
  if (text === null) return DEFAULT_SESSIONS;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_SESSIONS)
    throw new ControlError(400, `limit is ${quote(text)}; expected a number from 1 to ${MAX_SESSIONS}`);
  return limit;
}

/** What was found, short enough for one line. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

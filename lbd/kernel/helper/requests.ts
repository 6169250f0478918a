import { OperatorError } from '../../../common/errors.ts';
import type { Config } from '../../../common/model.ts';
import { GATE_CLOSED, GATE_OPEN, GATE_STUCK, type Gate } from '../../shared/shared.ts';
import { serviceNamed } from '../choice.ts';
import type { KernelOrder, YoungVips } from '../kernel-host.ts';
import { YOUNG_MS } from '../young.ts';

/** An order for tens of thousands of backends, more than a config file has room for. */
export const MAX_LINE_BYTES = 4 * 1024 * 1024;
/** Of a name, a version or a token. */
const MAX_NAME_CHARS = 256;
const MAX_FRONTENDS = 8192;
const MAX_GATES = 65_536;
const MAX_VIPS = 4096;
const MAX_WEIGHT = 256;
const DIGEST = /^[0-9a-f]{64}$/;

/** What lbd says of an order: the config by its digest. */
export type WireOrder = Omit<KernelOrder, 'config'> & { readonly digest: string };

/** What lbd may ask; nothing of it is text for a program. `id` is that of the answer. */
export type HelperRequest = { readonly id: number } & (
  | { readonly type: 'hello'; readonly version: string }
  | { readonly type: 'facts' | 'leftover' }
  | ({ readonly type: 'keep' } & WireOrder)
  | { readonly type: 'young'; readonly young: YoungVips }
  | { readonly type: 'cut'; readonly frontend: string; readonly backend: string }
  | { readonly type: 'flows'; readonly token: string }
);

/** What the helper says: an answer to a request, or what happened. */
export type HelperSaying =
  | { readonly id: number; readonly ok: unknown }
  | { readonly id: number; readonly refused: string; readonly code: string }
  | { readonly event: 'loaded' }
  | { readonly event: 'warnings'; readonly lines: readonly string[] }
  | { readonly event: 'tell'; readonly level: 'info' | 'warn'; readonly text: string };

const KEYS: Readonly<Record<HelperRequest['type'], readonly string[]>> = {
  hello: ['version'],
  facts: [],
  leftover: [],
  keep: ['digest', 'frontends', 'gates', 'young'],
  young: ['young'],
  cut: ['frontend', 'backend'],
  flows: ['token'],
};

/** What no lbd says; whoever says it is cut off. */
export class MalformedRequest extends Error {
  override readonly name = 'MalformedRequest';
}

/**
 * Reads a request. Only its form is looked at: what it may ask for is a matter of the config.
 *
 * @param line without its end
 * @throws MalformedRequest
 */
export function readRequest(line: string): HelperRequest {
  const request = fieldsOf(parse(line), 'a request');
  const { id, type } = request;
  if (!isWhole(id, Number.MAX_SAFE_INTEGER)) throw new MalformedRequest('a request without a number');
  const keys =
    typeof type === 'string' && Object.hasOwn(KEYS, type) ? KEYS[type as HelperRequest['type']] : undefined;
  if (keys === undefined) throw new MalformedRequest('a request of no type that there is');
  const known = ['id', 'type', ...keys];
  if (Object.keys(request).length !== known.length || !known.every((key) => Object.hasOwn(request, key)))
    throw new MalformedRequest(`a request ${type} with other fields than ${keys.join(', ') || 'none'}`);
  for (const key of ['version', 'frontend', 'backend', 'token'])
    if (key in request && !isName(request[key])) throw new MalformedRequest(`${key} is no name`);
  if ('young' in request) checkYoung(request.young);
  if (type === 'keep') checkOrder(request);
  return request as unknown as HelperRequest;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new MalformedRequest('a line that is no JSON');
  }
}

function checkOrder({ digest, frontends, gates }: Readonly<Record<string, unknown>>): void {
  if (typeof digest !== 'string' || !DIGEST.test(digest)) throw new MalformedRequest('digest is none');
  if (!Array.isArray(frontends) || frontends.length > MAX_FRONTENDS || !frontends.every(isName))
    throw new MalformedRequest('frontends is no list of names');
  if (new Set(frontends).size !== frontends.length) throw new MalformedRequest('a frontend twice');
  for (const gate of Object.values(fieldsOf(gates, 'gates', MAX_GATES)))
    if (!Array.isArray(gate) || gate.length !== 2 || !isGate(gate[0]) || !isWhole(gate[1], MAX_WEIGHT))
      throw new MalformedRequest('a gate that is none');
}

function checkYoung(young: unknown): void {
  for (const left of Object.values(fieldsOf(young, 'young', MAX_VIPS)))
    if (left !== null && !isWhole(left, YOUNG_MS)) throw new MalformedRequest('a young VIP without a time');
}

function fieldsOf(value: unknown, what: string, most = 16): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedRequest(`${what}: no object`);
  if (Object.keys(value).length > most) throw new MalformedRequest(`${what}: more than ${most} fields`);
  return value as Readonly<Record<string, unknown>>;
}

function isWhole(value: unknown, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function isGate(value: unknown): value is Gate {
  return value === GATE_OPEN || value === GATE_STUCK || value === GATE_CLOSED;
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_NAME_CHARS;
}

/**
 * Whether a config lets lbd have an order.
 *
 * @throws OperatorError where it names what the config does not give to the kernel
 */
export function admitOrder({ frontends, gates, young }: WireOrder, config: Config): KernelOrder {
  const services = frontends.map((name) => serviceNamed(config, name));
  const backends = new Set(
    services.flatMap(({ pool, backends }) => backends.map(({ name }) => `${pool}/${name}`)),
  );
  const stranger = Object.keys(gates).find((id) => !backends.has(id));
  if (stranger !== undefined) throw notOurs(`a gate for a backend that no frontend in the kernel has`);
  admitYoung(young, config);
  return { config, frontends, gates, young };
}

/** @throws OperatorError where one is no VIP of the config */
export function admitYoung(young: YoungVips, config: Config | undefined): YoungVips {
  const vips = new Set(config?.ha?.vips.map(({ address }) => address));
  if (Object.keys(young).some((vip) => !vips.has(vip)))
    throw notOurs('an address that is no VIP of the config');
  return young;
}

function notOurs(what: string): OperatorError {
  return new OperatorError('NOT_OURS', what);
}

import type { AdminState } from '../../common/control.ts';
import { shortPrintable } from '../../common/printable.ts';
import { ENGINE_PREFIX, type Json, type KeyStanding } from '../session/registers.ts';

/**
 * What the pair shares in the replicated registers. About its backends: the operator's wishes, which hold on both nodes,
 * and the last health that either node saw, which stands in until a node's own first check. About its frontends: the engine
 * that each node has.
 */
export interface AdminEntry {
  readonly admin: AdminState;
  /** Undefined: the weight of the config. */
  readonly weight: number | undefined;
  /** When the operator said so, by the wall clock of that node, in milliseconds: for people only. */
  readonly atMs: number | undefined;
}

export interface LearntHealth {
  readonly healthy: boolean;
  readonly why: string;
}

export interface ToldEngine {
  readonly engine: 'kernel' | 'user';
  readonly why: string;
}

const ADMIN_PREFIX = 'backend/';
const HEALTH_PREFIX = 'health/';
/** A register holds at most 4 KiB; a reason is one line. */
const MAX_WHY = 300;
/** The last moment of `Date`. */
const MAX_AT_MS = 8.64e15;

export const adminKey = (id: string): string => `${ADMIN_PREFIX}${id}`;
export const healthKey = (id: string): string => `${HEALTH_PREFIX}${id}`;
export const engineKey = (node: string, frontend: string): string => `${ENGINE_PREFIX}${node}/${frontend}`;

/** `pool/backend` or `node/frontend`, as a config can have them; see `common/schema.ts`. */
const ID = /^[^/\s]{1,128}\/[^/\s]{1,128}$/;

/**
 * What a register is about.
 *
 * @param has whether the config has a backend of this id
 * @param hasFrontend whether this pair has a node and a frontend of this id
 */
export function keyStanding(
  key: string,
  has: (id: string) => boolean,
  hasFrontend: (id: string) => boolean = () => false,
): KeyStanding {
  const about = parseKey(key);
  if (about === undefined || !ID.test(about.id)) return 'unknown';
  return (about.kind === 'engine' ? hasFrontend : has)(about.id) ? 'ours' : 'foreign';
}

/** Which kind of register a key is, and the `pool/backend` (`engine`: `node/frontend`) that it is about. */
export function parseKey(key: string): { kind: 'admin' | 'health' | 'engine'; id: string } | undefined {
  if (key.startsWith(ENGINE_PREFIX)) return { kind: 'engine', id: key.slice(ENGINE_PREFIX.length) };
  if (key.startsWith(ADMIN_PREFIX)) return { kind: 'admin', id: key.slice(ADMIN_PREFIX.length) };
  if (key.startsWith(HEALTH_PREFIX)) return { kind: 'health', id: key.slice(HEALTH_PREFIX.length) };
  return undefined;
}

/** A register's value as it came from the peer; whatever is not understood counts as not set. */
export function parseAdmin(value: unknown): AdminEntry {
  const { admin, weight, at } = fieldsOf(value);
  return {
    admin: isAdminState(admin) ? admin : 'ready',
    weight: isWeight(weight) ? weight : undefined,
    atMs: typeof at === 'number' && Number.isSafeInteger(at) && at >= 0 && at <= MAX_AT_MS ? at : undefined,
  };
}

export function parseHealth(value: unknown): LearntHealth | undefined {
  const { healthy, why } = fieldsOf(value);
  if (typeof healthy !== 'boolean') return undefined;
  return { healthy, why: typeof why === 'string' ? why.slice(0, MAX_WHY) : '' };
}

/** @returns undefined: nothing was said, or nothing that is understood */
export function parseEngine(value: unknown): ToldEngine | undefined {
  const { engine, why } = fieldsOf(value);
  if (engine !== 'kernel' && engine !== 'user') return undefined;
  return { engine, why: typeof why === 'string' ? shortPrintable(why, MAX_WHY) : '' };
}

export function engineValue({ engine, why }: ToldEngine) {
  return { engine, why: shortPrintable(why, MAX_WHY) } satisfies Json;
}

export function isAdminState(value: unknown): value is AdminState {
  return value === 'ready' || value === 'drain' || value === 'maint';
}

/** Weights are whole numbers from 0 to 256, as in the config. */
export function isWeight(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 256;
}

/** As it goes into a register; `null` is the weight of the config. */
export function adminValue({ admin, weight, atMs }: AdminEntry) {
  return { admin, weight: weight ?? null, ...(atMs !== undefined && { at: atMs }) } satisfies Json;
}

export function healthValue({ healthy, why }: LearntHealth): Json {
  return { healthy, why: why.slice(0, MAX_WHY) };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

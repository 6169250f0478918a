import { twinUntil } from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { ElectionEvent } from './election-types.ts';

/** Another live process claims this node's name. */
export function twin(
  { s, now }: Turn,
  { role, greater, why }: Extract<ElectionEvent, { type: 'twin' }>,
): void {
  s.twin = { role, greater, why, heardMs: now };
}

/**
 * Of two machines with one name the one that is active goes on, else the greater one of those that can: neither takes the
 * role from the other, and the names of their peers say nothing about who that is.
 *
 * @returns why this one does not
 */
export function twinCause({ s, now, config }: Turn): string | undefined {
  const until = twinUntil(config, s);
  if (s.twin === undefined || until === undefined || now >= until) return undefined;
  const { role, greater, why } = s.twin;
  if (role === 'fault') return undefined;
  const ahead = Number(s.role === 'active') - Number(role === 'active');
  return ahead > 0 || (ahead === 0 && greater) ? undefined : why;
}

/**
 * What is wrong with an interface that is there.
 *
 * @param flags as `ip -json` tells them, see netdevice(7)
 * @returns in a few words; empty: it is up and has a carrier
 */
export function linkTrouble(name: string, flags: unknown): string {
  const set: unknown[] = Array.isArray(flags) ? flags : [];
  if (!set.includes('UP')) return `interface ${name} is down`;
  return !set.includes('LOWER_UP') || set.includes('NO-CARRIER') ? `interface ${name} has no carrier` : '';
}

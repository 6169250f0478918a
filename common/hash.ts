/**
 * FNV-1a, 32 bit, then Murmur3's finaliser, because FNV alone leaves the high bits of short keys poor.
 * Equal on both nodes; not keyed: use it for names from the config, not to defend a table against a client
 * that picks its keys. Source: RFC 9923 (FNV), MurmurHash3 `fmix32`.
 *
 * @returns unsigned 32-bit integer
 */
export function hashText(text: string, seed = 0): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix32(h);
}

/** MurmurHash3 `fmix32`: every input bit changes about half of the output bits. Unsigned 32-bit result. */
export function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Identity of a backend that both nodes derive alike; never 0, which means "none" in the session table. */
export function backendId(pool: string, backend: string): number {
  return hashText(`${pool}/${backend}`) || 1;
}

/** Identity of a pool in session keys; never 0. */
export function poolId(pool: string): number {
  return hashText(pool, 0x9e3779b9) || 1;
}

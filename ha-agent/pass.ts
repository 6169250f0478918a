import { createHmac } from 'node:crypto';
import type { EnvelopeIdentity, EnvelopeKey } from './envelope.ts';

/**
 * The word by which the kernel's filter (`heartbeat-filter.ts`) knows what may come from the peer by one path: only who
 * has the secret, or has seen a datagram of that sender on that path, can write it. It is another one for each sender
 * and path, so that what is heard of a multicast group opens no unicast port. It proves nothing: what passes is judged
 * as before.
 *
 * @param sender the sender's name as datagrams have it
 * @param way see `pathId`; empty: a way that needs no filter
 * @returns 1 to 2^32 - 1; 0 where the way has none
 */
export function passOf({ key }: EnvelopeKey, sender: Buffer, way: string): number {
  if (way === '') return 0;
  const word = createHmac('sha256', key).update('pass\0').update(sender).update(way).digest().readUInt32BE();
  return word || 1;
}

/** All that may stand in a datagram of the peer, or of a process with this node's name, on a path. */
export function passesOn(identity: EnvelopeIdentity, way: string): readonly number[] {
  return identity.keys.flatMap((key) =>
    [identity.peer, identity.self].map((sender) => passOf(key, sender, way)),
  );
}

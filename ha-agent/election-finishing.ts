import { URGENT_COPIES } from './election-times.ts';
import type { Turn } from './election-turn.ts';

/** `lbd` has so long to end what is left when the time of the clients is over. */
const CUT_MS = 250;
/** A node that gave the role back forwards for so long: the burst of announcements, five by default, is over. */
const FORWARD_TAIL_MS = 1_500;
export const GOODBYE_COPIES = 3;

/**
 * What belongs to connections of the peer is sent on for as long as the peer says that it finishes them; its
 * death ends that, so that clients get a reset. Two nodes that forward to each other would send a stray segment
 * to and fro, so that is kept short.
 */
export function considerForwarding(turn: Turn): void {
  const { s, now } = turn;
  const alive = turn.peerAlive;
  if (turn.config.secondChance && alive && s.peer!.report.finishing) {
    // Anew, if the peer was active in between: a client may have used a port again that the rules take for this node's.
    const anew = s.forwardUntilMs !== undefined;
    s.forwardUntilMs = undefined;
    if (s.forwarding && !anew) return;
    s.forwarding = true;
    turn.act({ type: 'forward' });
    return;
  }
  if (!s.forwarding) return;
  if (alive && s.finishing !== undefined) s.forwardUntilMs ??= now + FORWARD_TAIL_MS;
  else s.forwardUntilMs = now;
  if (now >= s.forwardUntilMs) stopForwarding(turn);
}

export function stopForwarding(turn: Turn): void {
  const { s } = turn;
  if (!s.forwarding) return;
  s.forwarding = false;
  s.forwardUntilMs = undefined;
  turn.act({ type: 'unforward' });
}

/** Connections of the time when this node was active: until when they may go on, and what ends them. */
export function considerFinishing(turn: Turn, fault: string | undefined): void {
  const { s, now, config } = turn;
  const { finishing } = s;
  if (finishing === undefined || s.vip !== 'none') return;
  const { phase, untilMs, notBeforeMs } = finishing;
  const { connections } = s.lbd;
  const peerActive = turn.peerAlive && s.peer!.report.role === 'active';
  if (turn.cannotServe) endFinishing(turn, fault ?? 'lbd cannot serve');
  else if (connections === 0 && (phase === 'over' || now >= notBeforeMs))
    endFinishing(turn, 'no connection is left');
  else if (phase === 'over' && now >= untilMs) endFinishing(turn, 'the time of the connections is over');
  else if (now >= untilMs) {
    s.finishing = { ...finishing, phase: 'over', untilMs: now + CUT_MS };
    const left = connections === undefined ? 'what is left' : `${connections} connections`;
    turn.log('warn', 'vip', `not finished within ${config.drainMs / 1000} s: cutting ${left}`);
    turn.tellLbd();
  } else if (phase === 'retiring' && peerActive) {
    s.finishing = { ...finishing, phase: 'finishing' };
    const count = connections === undefined ? 'the' : String(connections);
    turn.log(
      'info',
      'vip',
      `finishing ${count} connections of the former active; ${config.peer.name} sends their segments on`,
    );
    turn.tellLbd();
  }
}

export function endFinishing(turn: Turn, why: string): void {
  const { s } = turn;
  if (s.finishing === undefined) return;
  s.finishing = undefined;
  turn.log('info', 'vip', `has finished its connections of the former active: ${why}`);
  turn.act({ type: 'unpark-vips' });
  turn.tellLbd();
  turn.send(s.stopping ? GOODBYE_COPIES : URGENT_COPIES);
}

import { carries, settling } from './election-link.ts';
import {
  ANSWER_MS,
  askVipsAt,
  deadTimeMs,
  nextQuestion,
  VIP_GONE_MS,
  vacancyAskedAt,
} from './election-times.ts';
import type { Turn } from './election-turn.ts';
import type { Answers, ElectionEvent, HoldOff } from './election-types.ts';
import { removeVips } from './election-vips.ts';
import { compareAddresses } from './rank.ts';

/** Who answered counts for so long: some answers that are lost or late are no silence. */
const ANSWER_HOLDS_MS = 1_500;
/**
 * A peer that is heard and cannot be believed holds a takeover off for so long where nobody answers for the VIPs:
 * anybody can send such datagrams.
 */
const PRESENCE_MS = VIP_GONE_MS;
/** It counts for so long at least: how often such a peer sends, nobody can know. */
const PRESENCE_HOLDS_MS = 1_000;
/** Where nobody can be asked who answers, it does so for that many times as long. */
const UNKNOWN_FACTOR = 10;
/** It looks so often, in such steps, whether the other node lives. */
const CHECKS = 5;
const CHECK_AGAIN_MS = 1_000;
/** So many such machines are remembered. */
const PROXIES = 8;
/** Who answers for the VIPs of a peer that is silent on all paths for so long may not be the peer. */
const RIVAL_MS = 60_000;
/** Two nodes that took over at the same moment, and do not hear each other, never look at the same moment. */
const CHECK_SPREAD_MS = 500;

/**
 * Evidence of the peer beyond its heartbeats. Silence on all paths is death, unless something else shows that somebody
 * may serve:
 *
 * - the link of this node is new, so that it may be deaf (`settling`);
 * - the peer is heard and not believed: datagrams that cannot be read or authenticated, or that may be old ones;
 * - somebody answers for a VIP. A machine that stopped does so as well, until its lifetime ends: where the peer was heard
 *   as the active node, its silence counts more until then. A machine that answers for everybody is no other owner.
 *
 * Its host may say sooner that its agent is dead (`election-suspicion.ts`): that counts once, for a short time, and while
 * nobody answers for a VIP after the guardian has had its time.
 */

/** Datagrams of the peer that cannot be understood. */
export function presence(turn: Turn, why: string): void {
  turn.s.presence = { why, heardMs: turn.now };
  carries(turn);
}

/** The neighbours have answered, or could not be asked. */
export function vipsProbed(turn: Turn, event: Extract<ElectionEvent, { type: 'vips-probed' }>): void {
  const { s, now } = turn;
  const { answers, error } = event;
  const before = s.answers;
  const known = answers !== undefined;
  if (!known && before.known)
    turn.log('warn', 'peer', `the neighbours cannot be asked who answers for the VIPs: ${error}`);
  const proxies = learned(turn, event.proxies ?? []);
  const first = answers?.find(({ by }) => !proxies.includes(by));
  s.answers = {
    proxies,
    askedMs: undefined,
    answeredMs: now,
    known,
    rival:
      first === undefined
        ? rivalOf(turn)
        : { who: `${first.by} answers for ${first.address}`, by: first.by, seenMs: now },
  };
  if (event.forwards || first !== undefined) carries(turn);
  considerYielding(turn);
}

/** Machines that answer for everybody (proxy ARP): for the VIPs, too. */
function learned(turn: Turn, proxies: readonly string[]): readonly string[] {
  const known = turn.s.answers.proxies;
  const news = proxies.filter((by) => !known.includes(by));
  if (news.length === 0) return known;
  turn.log('warn', 'peer', proxyText(news.join(', ')));
  return [...known, ...news].slice(-PROXIES);
}

/** @param by link-layer addresses */
export function proxyText(by: string): string {
  return `${by} answers for addresses that it does not have (proxy ARP?): what it answers for the VIPs does not count`;
}

/**
 * Who answers for the VIPs of an agent that is dead, as its host says, although the guardian has had its time. Then a
 * filter refuses, or the guardian is dead as well: until its silence has lasted long enough, the VIPs are not taken.
 */
export function unvacated(turn: Turn): string | undefined {
  const { s, now, config } = turn;
  const rival = rivalOf(turn);
  const isLate = rival !== undefined && rival.seenMs >= vacancyAskedAt(config, s, now);
  return isLate && s.vacancy !== undefined && s.peer?.report.role === 'active' ? rival.who : undefined;
}

/** It is time to look whether the guardian has done its work. */
function isVacancyDue({ s, now, config }: Turn): boolean {
  return s.vacancy?.isSpent === false && now >= vacancyAskedAt(config, s, now);
}

/** Asks the neighbours while it matters who answers for the VIPs. */
export function askNeighbours(turn: Turn): void {
  const { s, now } = turn;
  const wanted = s.role === 'active' ? isCheckDue(turn) : needsAnswers(turn);
  if (!wanted || now < nextQuestion(s)) return;
  s.answers = { ...s.answers, askedMs: now };
  turn.act({ type: 'probe-vips' });
}

/** A standby that may have to take over from a silent peer, or cannot know whether it is deaf. */
function needsAnswers(turn: Turn): boolean {
  const { s, now, config } = turn;
  if (s.stopping || s.vip !== 'none' || s.role === 'fault') return false;
  return now >= askVipsAt(config, s, now) || isVacancyDue(turn) || settling(turn) !== undefined;
}

function isCheckDue({ s, now, peerAlive }: Turn): boolean {
  return s.vip === 'held' && !peerAlive && s.check !== undefined && now >= s.check.atMs;
}

/** The takeover that just happened had no other reason than silence: look later whether the other node lives. */
export function checkLater({ s, now, config }: Turn): void {
  const isLower = compareAddresses(config.self.address, config.peer.address) < 0;
  s.check = { atMs: now + VIP_GONE_MS + (isLower ? 0 : CHECK_SPREAD_MS), left: CHECKS };
}

/**
 * Every VIP that nobody renews is gone by now. Who still answers lives and served first, whatever keeps its
 * heartbeats away.
 */
function considerYielding(turn: Turn): void {
  const { s, now, config } = turn;
  if (s.role !== 'active' || !isCheckDue(turn)) return;
  const left = s.check!.left - 1;
  s.check = left > 0 ? { atMs: now + CHECK_AGAIN_MS, left } : undefined;
  if (s.answers.rival?.seenMs !== now) return;
  // The other node cannot serve beside the lease of a witness: whoever that is, it is not the peer.
  if (now < s.lease.view.heldUntilMs) {
    turn.log('warn', 'peer', `${s.answers.rival.who}, too; this node has the lease of the witness and stays`);
    return;
  }
  turn.become(
    'standby',
    `${s.answers.rival.who}: ${config.peer.name} lives and serves, though it is not heard`,
  );
  removeVips(turn);
}

/**
 * Why a takeover on silence has to wait. Says so once, and withdraws the threat to the peer that goes before a takeover.
 */
export function isHeldOff(turn: Turn): boolean {
  const { s, now } = turn;
  const obstacle = obstacleOf(turn);
  if (obstacle === undefined) return false;
  const { kind, why } = obstacle;
  turn.because(why);
  if (kind === 'asking') return true;
  if (s.heldOff?.kind !== kind) {
    s.heldOff = { kind, sinceMs: now, isSaid: false };
    turn.log('warn', 'peer', `not taking over: ${why}`);
  }
  if (kind === 'presence') s.doubtSinceMs ??= now;
  if (kind === 'rival') warnOfRival(turn, why);
  s.probingSinceMs = undefined;
  return true;
}

/** Whether whoever answers serves as well, only an operator can know. */
function warnOfRival(turn: Turn, why: string): void {
  const { s, now } = turn;
  if (s.heldOff === undefined || s.heldOff.isSaid || now < s.heldOff.sinceMs + RIVAL_MS) return;
  s.heldOff = { ...s.heldOff, isSaid: true };
  turn.log(
    'error',
    'peer',
    `still not taking over after ${RIVAL_MS / 1_000} s: ${why}; if that is not ${turn.config.peer.name}, end its answers for the VIPs (proxy ARP, an address that is taken), and this node takes over`,
  );
}

/** What speaks against the death of a silent peer; undefined: nothing. */
export function obstacleOf(turn: Turn): { kind: HoldOff['kind'] | 'asking'; why: string } | undefined {
  const { now, config } = turn;
  const { name } = config.peer;
  const deaf = settling(turn);
  if (deaf !== undefined) return { kind: 'link', why: deaf };
  const rival = rivalOf(turn);
  const doubt = doubtful(turn);
  if (doubt !== undefined) {
    const why = `${name} is heard, but ${doubt}`;
    if (rival !== undefined) return { kind: 'presence', why: `${why}; ${rival.who}` };
    if (now < presenceUntil(turn)) return { kind: 'presence', why };
    return undefined;
  }
  if (rival !== undefined && now >= stoppedUntil(turn))
    return { kind: 'rival', why: `${name} is silent, but ${rival.who}` };
  if (isAnswerDue(turn)) return { kind: 'asking', why: `${name} is silent; asking who answers for the VIPs` };
  return undefined;
}

/** Who else has answered for the VIPs lately, unless it has turned out to answer for everybody. */
function rivalOf({ s, now }: Turn): Answers['rival'] {
  const { rival, proxies } = s.answers;
  if (rival === undefined || proxies.includes(rival.by)) return undefined;
  return now - rival.seenMs < ANSWER_HOLDS_MS ? rival : undefined;
}

/** Until when a machine that has stopped may answer for the VIPs that it had. */
function stoppedUntil({ s, now }: Turn): number {
  return s.peer?.report.role === 'active' ? s.peer.heardMs + VIP_GONE_MS : now;
}

/** Where the peer was not heard as the active node, its VIPs are looked for first. */
function isAnswerDue({ s, now }: Turn): boolean {
  const { probingSinceMs, answers, peer } = s;
  if (probingSinceMs === undefined || peer?.report.role === 'active') return false;
  return answers.askedMs !== undefined && now < Math.min(probingSinceMs, answers.askedMs) + ANSWER_MS;
}

/** Why what is heard of the peer is not to be believed; undefined: nothing is heard. */
function doubtful({ s, now, config }: Turn): string | undefined {
  const { presence, hello, peer } = s;
  const deadMs = deadTimeMs(config, s);
  if (presence !== undefined && now < presence.heardMs + Math.max(deadMs, PRESENCE_HOLDS_MS))
    return `not understood: ${presence.why}`;
  // A peer that this node hears but that has never heard this process will become or stay active, whatever this node
  // says. It only counts while this process has never had a fresh heartbeat.
  if (peer !== undefined || hello === undefined || hello.role === 'fault') return undefined;
  return now - hello.heardMs < deadMs ? 'does not hear this node' : undefined;
}

/** How long doubt alone holds a takeover off. Of two nodes that doubt each other only one takes over. */
function presenceUntil({ s, now, config }: Turn): number {
  const isLower = compareAddresses(config.self.address, config.peer.address) < 0;
  return (s.doubtSinceMs ?? now) + PRESENCE_MS * (isLower ? 2 : 1) * (s.answers.known ? 1 : UNKNOWN_FACTOR);
}

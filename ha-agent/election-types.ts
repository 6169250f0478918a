import type { FinishPhase, Role } from '../common/control.ts';
import type { Slowness } from './slowness.ts';

/** What the election needs to know from the config. All times in milliseconds. */
export interface ElectionConfig {
  readonly self: { readonly name: string; readonly address: string; readonly priority: number };
  readonly peer: { readonly name: string; readonly address: string };
  readonly intervalMs: number;
  /** Missed intervals after which the peer counts as dead. At least 2. */
  readonly deadAfter: number;
  /** undefined: never take the role back. */
  readonly preemptDelayMs: number | undefined;
  readonly trackLbd: boolean;
  /** Announcements in a burst after the VIPs were added. At least 1. */
  readonly announceCount: number;
  /** Time between two gratuitous announcements while active; 0 is off. */
  readonly announceRefreshMs: number;
  /** This host can forward for the peer, and finish connections while the peer forwards to it. */
  readonly secondChance: boolean;
  /** After a planned change of the active node, open connections have so long to finish. */
  readonly drainMs: number;
  /** A takeover waits so long for a witness to be asked; undefined: there is no witness. */
  readonly witnessWaitMs?: number | undefined;
  /** The lease of a witness lasts so long; undefined: there is no witness that grants one. */
  readonly leaseMs?: number | undefined;
  /** `lbd` without a backend counts only after so long; undefined: after a second. */
  readonly healthHoldMs?: number | undefined;
  /** How long a new link may take to carry frames; undefined or 0: no time. */
  readonly settleMs?: number | undefined;
  /** Whose answer shows that the network carries frames of this node: the peer's machine, witnesses. */
  readonly neighbours?: readonly string[] | undefined;
}

/** What the peer says of itself. */
export interface PeerReport {
  readonly role: Role;
  /** 1 to 254; 0: it does not want the active role now (stepping down, fault, stopping). */
  readonly priority: number;
  readonly epoch: number;
  /** 10 to 60000: time between two of its heartbeats. */
  readonly intervalMs: number;
  /** Its `lbd` has a backend for its clients. */
  readonly healthy: boolean;
  /** It asks the active node to hand over to it. */
  readonly request: boolean;
  /** It is about to count this node as dead: an answer at once is wanted. */
  readonly probe: boolean;
  /** Its VIPs leave it in a planned way, or have left, and it has connections of that time to finish. */
  readonly finishing: boolean;
  /** It can send on what belongs to connections of this node. */
  readonly forwards: boolean;
  /** It suspects that this agent is dead and wants an answer at once. Unlike `probe` it may well hear this node. */
  readonly ask?: boolean | undefined;
  /** Silence after which this sender counts its peer as dead. A peer of an older release does not say. */
  readonly deadTimeMs?: number | undefined;
  /**
   * How long this leadership has really held the VIPs and been reachable; 0: it has not, such as behind a cut cable.
   */
  readonly servedMs?: number | undefined;
  /** 16 hexadecimal digits: of the machine and process. Two senders of one node name differ in it. */
  readonly instance?: string | undefined;
  /** undefined: the sender has no witness that grants leases. */
  readonly lease?: LeaseReport | undefined;
}

/** What a node says about the witness that grants leases, and what its silence will mean; see `lease.ts`. */
export interface LeaseReport {
  /** The witness has granted the lease of this group to the sender, and it has not run out. */
  readonly held: boolean;
  /** The witness has answered the sender lately, so that it can grant. */
  readonly reachesWitness: boolean;
  /** The sender takes over by silence only with the lease; false: as without a witness. */
  readonly isBound: boolean;
  /** When the sender sent this, whole milliseconds of its own monotonic clock. 0 to 2^48 - 1. */
  readonly sentMs: number;
  /**
   * `sentMs` of the latest heartbeat of the receiver that the sender has heard, on the receiver's clock; 0: none of
   * this process. The sender takes over by silence only `deadTimeMs` after it heard that.
   */
  readonly heardSentMs: number;
}

/** A part of a takeover, and how long it took. */
export interface StepTime {
  /** What was done, in a few words. */
  readonly step: string;
  readonly ms: number;
}

/** Somebody answers for a VIP that is not on this node. */
export interface VipAnswer {
  /** The VIP, without its prefix. */
  readonly address: string;
  /** Link-layer address of who answers. */
  readonly by: string;
}

export interface LbdReport {
  readonly alive: boolean;
  /** It listens and its config is applied. */
  readonly ready: boolean;
  /** At least one pool has a backend that takes clients. */
  readonly healthy: boolean;
  /** The session table is in step with the peer's, or there is none to be in step with. */
  readonly synced: boolean;
  readonly why: string;
  /** A graceful stop is under way; it still serves. */
  readonly stopping?: boolean | undefined;
  /** Client connections to the VIPs; known only while they finish. */
  readonly connections?: number | undefined;
}

/** Everything that can happen to a node. `now` is monotonic and in milliseconds. */
export type ElectionEvent = { readonly now: number } & (
  | { readonly type: 'start' }
  /** At least once an interval; a missing one is how the node learns that it was paused. */
  | { readonly type: 'tick' }
  /** A one-shot timer for `ElectionResult.wakeAtMs` went off. */
  | { readonly type: 'wake' }
  /**
   * From a live process of the peer that hears this one. `restarted`: it is another process than before. `echoMs`: when
   * this node sent the latest heartbeat that the peer had heard; undefined where the peer does not say.
   */
  | {
      readonly type: 'heartbeat';
      readonly report: PeerReport;
      readonly restarted: boolean;
      readonly echoMs?: number | undefined;
    }
  /** Authentic, but the peer does not hear this process (yet). `isToAnswer`: it waits for this node's word to prove that it lives. */
  | { readonly type: 'hello'; readonly role: Role; readonly isToAnswer: boolean }
  /**
   * Datagrams come that claim to be of the peer, and cannot be authenticated or read: it may be alive, with another
   * secret or version. Anybody can send such datagrams.
   */
  | { readonly type: 'presence'; readonly why: string }
  /**
   * Another live process claims this node's name: authentic and fresh. `greater`: this process goes before it where it
   * matters which one does; the other one sees the opposite.
   */
  | { readonly type: 'twin'; readonly role: Role; readonly greater: boolean; readonly why: string }
  /** Result of `probe-vips`. `answers` is undefined where nobody could be asked; `error` says why. */
  | {
      readonly type: 'vips-probed';
      readonly answers: readonly VipAnswer[] | undefined;
      readonly error?: string | undefined;
      /** A neighbour answered for its own address: the network carries frames of this node. */
      readonly forwards?: boolean | undefined;
      /** Link-layer addresses of who answered for an address of this node, or for some that nobody has. */
      readonly proxies?: readonly string[] | undefined;
    }
  /** Another group of this node hears the peer: the network carries frames. */
  | { readonly type: 'carries' }
  | { readonly type: 'lbd'; readonly report: LbdReport }
  | { readonly type: 'interface'; readonly name: string; readonly up: boolean; readonly why: string }
  /** Result of `addVips`: all are there, or why not; and what took how long. */
  | {
      readonly type: 'vips-added';
      readonly error: string | undefined;
      readonly steps?: readonly StepTime[] | undefined;
    }
  /** Result of `renewVips`. `gone`: the host has looked, and they are not there. */
  | { readonly type: 'vips-renewed'; readonly error: string | undefined; readonly gone?: boolean | undefined }
  /** Result of `removeVips` or `parkVips`: none is there any more, or why not. `parked`: connections have theirs. */
  | { readonly type: 'vips-removed'; readonly error: string | undefined; readonly parked?: boolean }
  /** `lbd` is prepared for the active role. */
  | { readonly type: 'promoted'; readonly epoch: number }
  /** `lbd` has given the peer all sessions, and ends connections from now on. */
  | { readonly type: 'retired'; readonly epoch: number }
  /** The guardian missed its beats and removed the VIPs. */
  | { readonly type: 'guardian-fired' }
  /**
   * A sign that the peer's agent may be dead, never a proof. `refused`: the peer's host says that nobody listens for
   * heartbeats. `channel`: the session sync with the peer ended. `roundTripMs`: how long the refusal was under way.
   */
  | {
      readonly type: 'suspect';
      readonly sign: 'refused' | 'channel';
      readonly why: string;
      readonly roundTripMs?: number | undefined;
    }
  /** A check of the witnesses that began at `sinceMs` has ended. */
  | { readonly type: 'witness'; readonly result: WitnessResult }
  /** What the witness that grants leases said of this group. */
  | { readonly type: 'lease'; readonly view: LeaseView }
  /** An operator wants `to` (default: the other one than now) to be active. */
  | { readonly type: 'switchover'; readonly to: 'self' | 'peer' | undefined }
  | { readonly type: 'stop' }
);

export type ElectionAction =
  /** Send heartbeats now on every path, `copies` rounds of them. */
  | { readonly type: 'send'; readonly copies: number }
  /** Draw another boot nonce: what lies in the socket buffers since the pause must not count as fresh. */
  | { readonly type: 'renew-nonce' }
  /** `lbd` gets ready for its role; for `active` it answers with `promoted`. */
  | {
      readonly type: 'tell-lbd';
      readonly role: Role;
      readonly epoch: number;
      readonly finishing: FinishPhase | undefined;
    }
  | { readonly type: 'add-vips' }
  | { readonly type: 'renew-vips' }
  | { readonly type: 'remove-vips' }
  /**
   * Like `remove-vips`, but open connections keep their address: it stays on this host where no neighbour sees
   * it. Answered by `vips-removed` as well.
   */
  | { readonly type: 'park-vips' }
  /** Renew the lifetime of the parked VIPs. */
  | { readonly type: 'renew-parked' }
  /** The parked VIPs go. Adding or removing the VIPs does that too. */
  | { readonly type: 'unpark-vips' }
  /** Send on to the peer what belongs to connections that this host does not know. Done before a later `add-vips`. */
  | { readonly type: 'forward' }
  | { readonly type: 'unforward' }
  /** One gratuitous ARP for every VIP. */
  | { readonly type: 'announce' }
  /** Ask the neighbours, for some milliseconds, whether anybody answers for the VIPs; `vips-probed` has the result. */
  | { readonly type: 'probe-vips' }
  /** Look now whether a witness answers, not only at the next turn. */
  | { readonly type: 'check-witness' }
  /** Get the lease of the witness and keep it, or release it. */
  | { readonly type: 'want-lease'; readonly isWanted: boolean; readonly epoch: number }
  | { readonly type: 'notify'; readonly role: 'active' | 'standby' | 'fault' }
  | {
      readonly type: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly kind: 'role' | 'vip' | 'peer' | 'switchover' | 'witness';
      readonly text: string;
    }
  /** Answer to the `switchover` event. */
  | { readonly type: 'answer'; readonly ok: boolean; readonly text: string }
  /** The VIPs are gone and the peer was told: the process may exit. */
  | { readonly type: 'stopped' };

/**
 * Where the VIPs are on their way on or off this node. `retiring`: still held, `lbd` gets ready to lose them.
 * `removing`: they may still be there.
 */
export type VipState = 'none' | 'promoting' | 'adding' | 'held' | 'retiring' | 'removing';

/** A node that was active lets its clients finish. */
export interface Finishing {
  readonly phase: FinishPhase;
  /** When the phase ends at the latest; before the VIPs have left there is no such time. */
  readonly untilMs: number;
  /** Not before this is it believed that no client is left: some are still on their way. */
  readonly notBeforeMs: number;
}

/** Whether addresses beyond the peer can be reached: a node that reaches nobody is the one that is cut off. */
export interface WitnessResult {
  /** At least one answers. undefined: it cannot be known, so it does not count. */
  readonly reachable: boolean | undefined;
  /** What was asked and what came back, for people. */
  readonly why: string;
  /** When the check began. */
  readonly sinceMs: number;
}

/** The lease of a group at the witness, as this node knows it; times of its own clock. */
export interface LeaseView {
  /** A witness that can grant has answered lately. */
  readonly reachesWitness: boolean;
  /** When the latest question was sent that was answered; 0: none. */
  readonly heardMs: number;
  /** This process holds the lease until then; in the past: it does not. */
  readonly heldUntilMs: number;
  /** Another one holds it until about then; in the past: nobody does, as far as is known. */
  readonly takenUntilMs: number;
  /** The highest one with which the lease was held. */
  readonly epoch: number;
  /** So long the peer has not asked the witness, as that says. */
  readonly silenceMs: number;
}

/** What the lease means for this node, see `election-lease.ts`. */
export interface LeaseStanding {
  readonly view: LeaseView;
  /** Silence is death, as without a witness. */
  readonly isFree: boolean;
  /** The peer does not hear this node, which is standby: it does not consent any more, and takes over with the lease. */
  readonly isRival: boolean;
  /** The peer may count on the consent that this node gave it until then. */
  readonly consentedUntilMs: number;
  /** After the peer's word that its VIPs are gone, this node serves until then without the lease. */
  readonly wordUntilMs: number;
  /** The peer's consent is not asked for before then. */
  readonly askAgainMs: number;
  /** What was asked for last; undefined: nothing yet. */
  readonly isWanted: boolean | undefined;
  readonly wantedEpoch: number;
  /** At the last look, for the log. */
  readonly wasHeld: boolean;
}

/** The peer's agent may be dead: it is asked on all paths, several times. */
export interface Suspicion {
  readonly why: string;
  readonly sinceMs: number;
  readonly asked: number;
  readonly nextMs: number;
  /** An answer is waited for until then. */
  readonly untilMs: number;
  /** The latest time at which the peer's host said that nobody listens. */
  readonly refusedMs: number | undefined;
}

/** The peer's agent is dead, as its host says, which lives. Evidence for one takeover, and for a short time. */
export interface Vacancy {
  readonly why: string;
  readonly sinceMs: number;
  /** There was that takeover. */
  readonly isSpent: boolean;
}

/** What the neighbours say of the VIPs. */
export interface Answers {
  /** When they were asked; undefined: no answer is awaited. */
  readonly askedMs: number | undefined;
  /** When the latest result came; undefined: there was none. */
  readonly answeredMs: number | undefined;
  /** They could be asked. */
  readonly known: boolean;
  /** Who else answers, by which link-layer address, and when it last did. */
  readonly rival: { readonly who: string; readonly by: string; readonly seenMs: number } | undefined;
  /** Link-layer addresses that answer for others, so that what they say of the VIPs does not count. */
  readonly proxies: readonly string[];
}

/** Why this node does not take over from a silent peer, see `election-evidence.ts`. */
export interface HoldOff {
  readonly kind: 'link' | 'presence' | 'rival';
  readonly sinceMs: number;
  /** That it lasts was said as an error. */
  readonly isSaid: boolean;
}

/** Whether the network carries frames of this node. */
export interface LinkView {
  /** The node started, or its link came up. */
  readonly sinceMs: number;
  readonly why: string;
  /** Since when something shows it; undefined: nothing has. */
  readonly carriesSinceMs: number | undefined;
}

/** How the lifetime of the VIPs is renewed. */
export interface Renewal {
  /** When the renewal was asked for whose answer is still to come. */
  readonly askedMs: number | undefined;
  /** When the latest one was asked for that succeeded, or the addition. */
  readonly goodMs: number;
  /** Why the latest one failed. */
  readonly trouble: string | undefined;
}

export interface PeerView {
  /** Of the latest heartbeat, whether or not the peer is still alive. */
  readonly report: PeerReport;
  readonly heardMs: number;
  /** Since when it says that it has backends; undefined while it says that it has none. */
  readonly healthySinceMs: number | undefined;
}

export interface ElectionState {
  readonly role: Role;
  readonly why: string;
  readonly sinceMs: number;
  readonly epoch: number;
  readonly vip: VipState;
  readonly peer: PeerView | undefined;
  /** Latest hello, see `ElectionEvent`. */
  readonly hello: { readonly role: Role; readonly heardMs: number } | undefined;
  /** The peer was last heard without being understood; undefined once it is understood. See `ElectionEvent`. */
  readonly presence: { readonly why: string; readonly heardMs: number } | undefined;
  readonly answers: Answers;
  readonly heldOff: HoldOff | undefined;
  /** Since when doubt has held a takeover off, with or without lapses; until the peer is heard or replaced. */
  readonly doubtSinceMs: number | undefined;
  readonly link: LinkView;
  /** This node took over on silence alone: then it looks whether somebody else still answers for the VIPs. */
  readonly check: { readonly atMs: number; readonly left: number } | undefined;
  /** The latest word of another process that claims this node's name. */
  readonly twin:
    | { readonly role: Role; readonly greater: boolean; readonly why: string; readonly heardMs: number }
    | undefined;
  /** Whether the peer was alive at the last look, for the log. */
  readonly peerAlive: boolean;
  readonly lbd: LbdReport;
  /** Since when `lbd` has no backend; undefined while it has. */
  readonly unhealthySinceMs: number | undefined;
  /** Reasons by interface. */
  readonly downInterfaces: ReadonlyMap<string, string>;
  /** Of the latest check; undefined before the first one ended. */
  readonly witness: WitnessResult | undefined;
  readonly lease: LeaseStanding;
  readonly suspicion: Suspicion | undefined;
  /** After a suspicion without a proof, signs are ignored until then. */
  readonly trustUntilMs: number;
  /** How long the latest such time was; 0: there was none. */
  readonly trustMs: number;
  readonly vacancy: Vacancy | undefined;
  /** Why this node does not take the role back although it might; undefined: nothing but `preempt` holds it. */
  readonly operatorsChoice: string | undefined;
  readonly lastTickMs: number;
  /** How late this process gets its processor. */
  readonly slowness: Slowness;
  /** Before this a node does not take over, because it has not listened for long enough. */
  readonly listenUntilMs: number;
  readonly listenSinceMs: number;
  /** After handing over, the peer has until then to become active. */
  readonly holdUntilMs: number | undefined;
  /** After a fault, the peer may be taking over: until then this node does not do so while the peer is heard. */
  readonly recoveredUntilMs: number;
  /**
   * A process of the peer that was active has not said farewell, and another one speaks since: it may serve until then.
   */
  readonly formerUntilMs: number;
  /** Since when this node hears another active one that ought to drop its VIPs. */
  readonly dualSinceMs: number | undefined;
  /** This node asks the active one for its role until then. */
  readonly requestUntilMs: number | undefined;
  /** A better node may ask for the role from then on. */
  readonly preemptAtMs: number | undefined;
  /** The peer is probing; without a sign that it hears this node again, step down then. */
  readonly probedUntilMs: number | undefined;
  /** This node wants to hear the peer anew, without a threat to the peer's role; until it does. */
  readonly asking: boolean;
  /** Since when this node probes the silent peer; undefined while it hears it. */
  readonly probingSinceMs: number | undefined;
  /** When the current step of the VIPs is overdue. */
  readonly vipDeadlineMs: number;
  /** When the VIPs came to this node. */
  readonly heldSinceMs: number;
  /** When `lbd` was ready for the latest takeover, or was not waited for any longer. */
  readonly promotedMs: number;
  readonly renewal: Renewal;
  readonly renewAtMs: number;
  readonly announceAtMs: number;
  /** Announcements that are left of the burst. */
  readonly announceLeft: number;
  /** A former active that nobody heard of may have had the VIPs until then: announce again. */
  readonly announceAgainMs: number | undefined;
  /** An added VIP failed: fault until then. */
  readonly vipFault: { readonly why: string; readonly untilMs: number } | undefined;
  readonly finishing: Finishing | undefined;
  /** This node forwards for the peer, which finishes. */
  readonly forwarding: boolean;
  /** The peer took the role back: its announcement reaches the neighbours by then. */
  readonly forwardUntilMs: number | undefined;
  readonly stopping: boolean;
}

/** The next state in the making. */
export type Draft = { -readonly [K in keyof ElectionState]: ElectionState[K] };

export interface ElectionResult {
  readonly state: ElectionState;
  readonly actions: readonly ElectionAction[];
  /** When `step` wants to be called again at the latest; never in the past. */
  readonly wakeAtMs: number;
}

import type { RuntimeStatus } from './runtime.ts';

/**
 * What the daemons and `lbctl` say to each other on unix sockets in the run directory.
 *
 * - `lbd.sock` and `agent.sock`: HTTP with JSON bodies. Errors are `{ "error": "one clear line" }` with a 4xx
 *   or 5xx status.
 * - `lbd-live.sock`: liveness between the two daemons of a node, one JSON object a line, see `LiveMessage`.
 * - `lbd-stat.sock`: whoever connects gets a descriptor of the `/proc/PID/stat` of `lbd`, and no more.
 * - `kernel.sock`: what lbd may ask of the helper of the kernel engine.
 *
 * Each stands in a folder of its own, because the folder says which group may reach it. Paths are relative to the run directory.
 */
export const SOCKETS = {
  lbd: 'lb/lbd.sock',
  agent: 'ha/agent.sock',
  live: 'live/lbd-live.sock',
  stat: 'live/lbd-stat.sock',
  kernel: 'net/kernel.sock',
} as const;

export type Role = 'init' | 'standby' | 'active' | 'fault';

/** Wanted state of a backend, set by an operator. */
export type AdminState = 'ready' | 'drain' | 'maint';
/** What the health checks say. `unknown` until the first result. */
export type HealthState = 'unknown' | 'healthy' | 'unhealthy';
/**
 * What a backend is, all told: `ready` gets new clients; `draining` finishes the ones that it has; `drained`
 * has none left; `down` is unhealthy; `ejected` fails its
 * clients and is left out for a while; `maint` is taken out; `starting` waits for its first check.
 */
export type BackendState = 'ready' | 'draining' | 'drained' | 'down' | 'ejected' | 'maint' | 'starting';

export interface BackendStatus {
  readonly address: string;
  /** Where its host name leads; undefined: its host is an IP address, or this is no answer of `GET /v1/status`. */
  readonly resolved?:
    | {
        /** The last good ones; empty: there never were any. */
        readonly addresses: readonly string[];
        /** Those that get clients: the ones that pass their checks, or all where none does. */
        readonly usable: readonly string[];
        /** Since they were last found. */
        readonly age_ms: number;
        /** Why they cannot be found now; undefined: they can. */
        readonly trouble?: string | undefined;
      }
    | undefined;
  readonly state: BackendState;
  readonly health: HealthState;
  readonly admin: AdminState;
  /** When an operator set `admin` or the weight last, ISO 8601; undefined: nothing of that is in force, or it is not known. */
  readonly admin_at?: string | undefined;
  /** Requests (http) or connections (tcp) in flight, all workers together. */
  readonly active: number;
  readonly weight: number;
  /** Why it is in this state, in words for people. */
  readonly why: string;
  /** Milliseconds since the state changed. */
  readonly since_ms: number;
  /** Limit of `active`; undefined: there is none. */
  readonly max_connections?: number | undefined;
  readonly requests: number;
  readonly errors: number;
  /** Requests that failed here and were sent to another backend. */
  readonly retries?: number | undefined;
  /** How often it was left out for failing its clients. */
  readonly ejections?: number | undefined;
  /** Slow start: percent of its clients that it gets; undefined: all. */
  readonly share?: number | undefined;
  /** Decaying average of the response time; 0 before the first response. */
  readonly latency_ms: number;
  /** `deep` checks: names of the checks that fail. */
  readonly failing_checks: readonly string[];
  /** Latest results, newest first, at most 10. */
  readonly checks: readonly { readonly ok: boolean; readonly ms: number; readonly detail: string }[];
}

/** `POST /v1/backends/POOL/BACKEND`: what the backend is now. */
export interface BackendAnswer extends BackendStatus {
  /** What an operator should know of the change; undefined: nothing. */
  readonly note?: string | undefined;
}

/** How a pool bears up. */
export interface PoolStrain {
  /** Too few of its backends are healthy: all are used. */
  readonly panic: boolean;
  /** What all workers have open now. */
  readonly open: Readonly<Record<'requests' | 'pending' | 'connections' | 'retrying', number>>;
  /** Limits of the circuit breaker that are reached, such as `requests: 100 of 100`. */
  readonly at_limit: readonly string[];
  /** Requests that the circuit breaker refused, by limit, and retries that the budget did not allow. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface SyncStatus {
  /** `off`: no cluster. `connecting`: no link. `snapshot`: a full resync is under way. `synced`: in step. */
  readonly state: 'off' | 'connecting' | 'snapshot' | 'synced';
  /** Live entries of the local table. */
  readonly entries: number;
  readonly capacity: number;
  /** Age of the oldest update that the peer has not acknowledged; 0 at rest. */
  readonly lag_ms: number;
  /** Why there is no link, or the last refusal; empty when all is well. */
  readonly why: string;
  /** Whether both tables had the same digest when last compared; undefined before. */
  readonly digest_equal: boolean | undefined;
}

/** The flows of frontends with the kernel engine, and how they are kept in step with the peer's. */
export interface FlowSyncStatus {
  /**
   * `off`: no frontend has the kernel engine. `counting`: no cluster. `connecting`: no link. `snapshot`: one of the nodes
   * is being filled. `failed`: one of them cannot, see `why`.
   */
  readonly state: 'off' | 'counting' | 'connecting' | 'snapshot' | 'synced' | 'failed';
  readonly why: string;
  /** Of our frontends in the kernel of this node. */
  readonly flows: number;
  /** That the peer told. */
  readonly replica: number;
  /** Age of the oldest change that is not in the peer's kernel yet; 0 at rest. */
  readonly lag_ms: number;
  /** From the kernel's event here until the flow was in the peer's kernel, of the last minute; undefined: there was none. */
  readonly lag_p50_ms: number | undefined;
  readonly lag_p99_ms: number | undefined;
  /** Whether this node had what the peer had when last compared; undefined before. */
  readonly digest_equal: boolean | undefined;
  /** Since the start: messages of the kernel, writes into it, writes that failed, flows that found no room. */
  readonly events: number;
  readonly written: number;
  readonly failed: number;
  readonly dropped: number;
  /** Dumps and snapshots that repaired a loss. */
  readonly resyncs: number;
  /** By frontend and backend; `opened` and `bytes` (of ended flows) since the start. */
  readonly frontends: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly active: number;
            readonly opened: number;
            readonly bytes: number;
            /** Open flows for which the kernel has source ports; left out where backends see the client. */
            readonly limit?: number | undefined;
          }
        >
      >
    >
  >;
  /** New flows of any kind that the kernel dropped since this start, above all for want of a source port. */
  readonly insert_failed?: number | undefined;
}

/** A certificate that clients are shown. */
export interface CertificateStatus {
  readonly file: string;
  readonly names: readonly string[];
  readonly key_type: string;
  /** Fingerprint, hex with colons. */
  readonly sha256: string;
  /** ISO 8601. */
  readonly not_after: string;
}

export interface FrontendStatus {
  readonly bind: readonly string[];
  readonly mode: 'http' | 'tcp' | 'udp';
  /** Who moves the bytes, and why; only of modes tcp and udp. What the kernel moves is not in the numbers here. */
  readonly engine?: { readonly engine: 'kernel' | 'user'; readonly why: string } | undefined;
  /** udp: flows. */
  readonly connections: number;
  readonly max_connections?: number;
  readonly accepted: number;
  readonly requests: number;
  /** Clients that were turned away since the start, by a cause of the access log; those that never happened are left out. */
  readonly refused?: Readonly<Record<string, number>>;
  /** Only of mode udp. */
  readonly datagrams?:
    | {
        readonly received: number;
        readonly sent: number;
        readonly dropped: number;
        /** Flows that had to make room for new ones. */
        readonly evicted: number;
      }
    | undefined;
  /** Only where TLS ends here. */
  readonly tls?:
    | {
        readonly certificates: readonly CertificateStatus[];
        /** Full ones, resumed sessions, and those that came to nothing. */
        readonly handshakes: number;
        readonly resumed: number;
        readonly failed: number;
      }
    | undefined;
}

/** What a reload has taken out, with something of it still open. */
export interface LeavingStatus {
  /** `frontend NAME` or `backend POOL/NAME`. */
  readonly name: string;
  readonly connections: number;
  /** Until what is still open is cut. */
  readonly left_ms: number;
  /** What its checks say, and why; only of a backend that is not in the config again. */
  readonly health?: HealthState | undefined;
  readonly why?: string | undefined;
}

/** `GET /v1/status` on `lbd.sock`. */
export interface LbdStatus {
  readonly node: string;
  readonly version: string;
  /** undefined: from a release that does not say it. */
  readonly runtime?: RuntimeStatus | undefined;
  readonly pid: number;
  readonly uptime_ms: number;
  readonly config: {
    readonly file: string;
    readonly digest: string;
    readonly reload_error: string | undefined;
  };
  readonly workers: { readonly wanted: number; readonly running: number; readonly replaced: number };
  readonly sync: SyncStatus;
  /** Of frontends with the kernel engine. */
  readonly flows?: FlowSyncStatus | undefined;
  /** undefined: from a release that does not say it. */
  readonly leaving?: readonly LeavingStatus[] | undefined;
  /**
   * `frontend NAME` or `pool NAME` that serves nobody, since no TLS files of it can be used, nor ever could in this run. The
   * warnings say why. undefined: from a release that does not say it.
   */
  readonly left_out?: readonly string[] | undefined;
  readonly frontends: Readonly<Record<string, FrontendStatus>>;
  readonly pools: Readonly<
    Record<
      string,
      {
        readonly algorithm: string;
        /** Who waits for a backend now; only of pools of which a backend has `max_connections`. */
        readonly queue?: { readonly waiting: number; readonly length: number } | undefined;
        readonly strain?: PoolStrain | undefined;
        readonly backends: Readonly<Record<string, BackendStatus>>;
      }
    >
  >;
  /** Refusals and fallbacks that are in force, each one line. */
  readonly warnings: readonly string[];
  /** What an operator should know and need not mend, as it goes with the config; left out: nothing. */
  readonly notes?: readonly string[] | undefined;
}

export interface VipStatus {
  /** `ADDRESS/PREFIX`. */
  readonly address: string;
  readonly interface: string;
  readonly held: boolean;
  /** Where this host has the address although the agent has not put it there, `ADDRESS/PREFIX dev INTERFACE`. */
  readonly copies?: readonly string[] | undefined;
}

/** One VIP group on this node, and what the peer says of it. */
export interface GroupStatus {
  readonly name: string;
  readonly role: Role;
  readonly epoch: number;
  readonly priority: number;
  /** Why it has this role. */
  readonly why: string;
  readonly since_ms: number;
  readonly vips: readonly VipStatus[];
  readonly peer: {
    /** `unknown` when it was never heard. */
    readonly role: Role | 'unknown';
    readonly epoch: number;
    /** undefined when it was never heard. */
    readonly seen_ms_ago: number | undefined;
    readonly alive: boolean;
  };
  readonly second_chance: SecondChanceStatus;
  /** undefined: there is no witness that grants leases. */
  readonly lease?: GroupLeaseStatus | undefined;
}

/**
 * `GET /v1/status` on `agent.sock`. With several groups the fields outside `groups` sum up: `role` is `active` where the
 * node is active for any group, then `standby`, `init`, `fault` in this order; `why`, `since_ms`, `priority` and
 * `second_chance` are of the first group with that role (of one that finishes or forwards, where there is one); `epoch` is
 * the highest one. The peer's fields likewise.
 */
export interface AgentStatus {
  readonly node: string;
  readonly version: string;
  /** undefined: from a release that does not say it. */
  readonly runtime?: RuntimeStatus | undefined;
  readonly pid: number;
  readonly role: Role;
  readonly epoch: number;
  readonly priority: number;
  readonly why: string;
  readonly since_ms: number;
  /** Of all groups. */
  readonly vips: readonly (VipStatus & { readonly group: string })[];
  /** By name. */
  readonly groups: readonly GroupStatus[];
  readonly peer: GroupStatus['peer'] & {
    readonly node: string;
    /** undefined when it was never heard; false when the peer runs another config. */
    readonly same_config: boolean | undefined;
    /** Sections of the config in which the peer's differs, such as `pools`; see `common/digest.ts`. */
    readonly differs_in: readonly string[];
  };
  readonly paths: readonly {
    readonly name: string;
    readonly state: 'up' | 'silent' | 'failed';
    readonly seen_ms_ago: number | undefined;
    readonly sent: number;
    readonly received: number;
    /** Datagrams thrown away, by cause. */
    readonly dropped: Readonly<Record<string, number>>;
    readonly why: string;
  }[];
  readonly lbd: { readonly alive: boolean; readonly healthy: boolean; readonly why: string };
  readonly guardian: { readonly alive: boolean };
  /** undefined: none is configured. */
  readonly witness?: WitnessStatus | undefined;
  /** undefined: none is configured. */
  readonly lease?: LeaseStatus | undefined;
  readonly second_chance: SecondChanceStatus;
  /** What should be mended. */
  readonly warnings: readonly string[];
  /** What an operator should know and need not mend, as it goes with the config; left out: nothing. */
  readonly notes?: readonly string[] | undefined;
}

/** A witness that grants leases, as this node sees it. */
export interface LeaseStatus {
  /** `ADDRESS:PORT` */
  readonly address: string;
  /** `starting`: it answers and grants nothing yet. */
  readonly state: 'grants' | 'starting' | 'away';
  /** undefined: never. */
  readonly answered_ms_ago: number | undefined;
  readonly why: string;
}

/** A group's lease at that witness, as this node sees it. */
export interface GroupLeaseStatus {
  readonly holder: 'this node' | 'the other node' | 'nobody';
  /** undefined where nobody holds it. */
  readonly left_ms: number | undefined;
  /** This node serves without the other one's consent only with the lease; false: as without a witness. */
  readonly bound: boolean;
}

/** `ignored`: it cannot be asked, so it does not count. */
export interface WitnessStatus {
  readonly addresses: readonly string[];
  readonly state: 'unknown' | 'answers' | 'silent' | 'ignored';
  readonly why: string;
}

/** Whether open connections outlive a planned change of the active node, and those that do so now. */
export interface SecondChanceStatus {
  /** Both nodes can do it. */
  readonly available: boolean;
  /** This node was active and finishes what its clients have open; undefined: it does not. */
  readonly finishing:
    | {
        /** undefined until `lbd` has counted. */
        readonly connections: number | undefined;
        /** What is still open then is cut; undefined while the VIPs have not left yet. */
        readonly left_ms: number | undefined;
      }
    | undefined;
  /** This node sends on to the peer what belongs to connections of the peer. */
  readonly forwarding: boolean;
}

/**
 * How far a node is with giving up the active role in a planned way. `retiring`: its VIPs are about to leave or on
 * their way. `finishing`: the peer is active. `over`: what is still open has had its time.
 */
export type FinishPhase = 'retiring' | 'finishing' | 'over';

/**
 * `POST /v1/reload` on either socket, answered once it is done. With `{ "check": true }` nothing changes, and `accepted`
 * means that the config would be applied.
 */
export interface ReloadAnswer {
  /** `unchanged`: the file says what is in force. `refused`: nothing was changed. */
  readonly outcome: 'applied' | 'unchanged' | 'accepted' | 'refused';
  /** In words, such as `pool web changed`. */
  readonly changes: readonly string[];
  /** Why it was refused, or what of it is not in force, one line each. */
  readonly problems: readonly string[];
  /** What comes into force only with a restart, one line each. */
  readonly warnings: readonly string[];
}

/** Nothing was changed, and why. */
export function refusedReload(problems: readonly string[]): ReloadAnswer {
  return { outcome: 'refused', changes: [], problems, warnings: [] };
}

/** `GET /v1/events` on either socket, oldest first; the newest 256 are kept. */
export interface ControlEvent {
  /** Wall clock, ISO 8601, for people only. */
  readonly time: string;
  /** Monotonic milliseconds, comparable within one node between both daemons (CLOCK_MONOTONIC). */
  readonly mono_ms: number;
  readonly source: 'agent' | 'lbd';
  /** Stable word, such as `role`, `vip`, `peer`, `backend`, `worker`, `reload`, `sync`. */
  readonly kind: string;
  /** One line for people: what happened and why. */
  readonly text: string;
}

/** Lines from `lbd` to `ha-agent`. */
export type LbdLiveMessage =
  /** First line, then at every change and in answer to a ping. */
  | {
      readonly type: 'state';
      /** All workers listen and the config is applied. */
      readonly ready: boolean;
      /** At least one pool has a backend that takes clients (or there is no pool). */
      readonly healthy: boolean;
      readonly sync: SyncStatus['state'];
      readonly why: string;
      /** A graceful stop is under way: it serves, but not for long. */
      readonly stopping?: boolean | undefined;
      /** Client connections to the VIPs by VIP group; only of groups in a phase of `FinishPhase`. */
      readonly connections?: Readonly<Record<string, number>> | undefined;
      /** false: it was ready, but no worker answers any more; `why` says since when. */
      readonly serving?: boolean | undefined;
      /** Number of its process; left out by an `lbd` of former times. */
      readonly pid?: number | undefined;
      /** Whether heartbeats are carried to the peer; left out by an `lbd` of former times, which must not get any. */
      readonly heartbeats?: HeartbeatCarriage | undefined;
    }
  /** A heartbeat of the peer's agent; only to a client that has sent one. */
  | CarriedHeartbeat
  /** Answer to the phase `retiring`: the peer has all sessions, or could not get them in time. */
  | { readonly type: 'retired'; readonly group: string; readonly epoch: number }
  | { readonly type: 'pong'; readonly id: number }
  /** Everything that the new role needs is done; for `active` the VIP may be added now. */
  | { readonly type: 'promoted'; readonly group: string; readonly epoch: number };

/** Lines from `ha-agent` to `lbd`. */
export type AgentLiveMessage =
  | {
      readonly type: 'role';
      /** Name of the VIP group whose role it is. */
      readonly group: string;
      readonly role: Role;
      readonly epoch: number;
      /** Without it, connections live as long as they like. */
      readonly finishing?: FinishPhase | undefined;
    }
  | { readonly type: 'ping'; readonly id: number }
  /** To be carried to the peer's agent; only to an `lbd` that offers it. */
  | CarriedHeartbeat;

/** How heartbeats travel beside the session sync. `why`: what is in the way while it does not work. */
export interface HeartbeatCarriage {
  readonly up: boolean;
  readonly why: string;
}

/**
 * The longest reason in a line from `lbd` to `ha-agent`. With two of them, quotes escaped and the counts of 16 groups, it is
 * shorter than the 4,096 characters that an agent of the last release reads.
 */
export const MAX_LIVE_WHY_CHARS = 512;

/** The largest datagram that travels between the agents, by whatever path. */
export const MAX_HEARTBEAT_BYTES = 1200;

/** A signed datagram of an agent. Who carries it does not look inside. */
export interface CarriedHeartbeat {
  readonly type: 'heartbeat';
  /** 1 to `MAX_HEARTBEAT_BYTES` in base64. */
  readonly data: string;
  /** CLOCK_MONOTONIC in milliseconds when it was handed over, see `monotonicMs`: what is too old is of no use. */
  readonly at: number;
}

/** `POST /v1/explain` on `lbd.sock`: a request that might come. */
export interface ExplainQuery {
  /** Case-sensitive. */
  readonly method: string;
  /** As it would be in the request line, without scheme and host. */
  readonly target: string;
  /** Names and values as they would be sent, `Host` among them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Address of the client; undefined: not said. */
  readonly source: string | undefined;
}

/** Who would get a request or connection, as far as one worker decides it. */
export interface ExplainedPick {
  readonly worker: number;
  /** undefined: nobody. */
  readonly backend: string | undefined;
  /** The rule that picks it, or why there is none, in words. */
  readonly by: string;
}

/** What would become of a request, and why; nothing is changed by asking. */
export interface Explanation {
  readonly frontend: string;
  readonly mode: 'http' | 'tcp' | 'udp';
  /** Only of modes tcp and udp. */
  readonly engine?: FrontendStatus['engine'];
  /** Why nothing is served there, one line each; empty: it serves. An lbd of a former release does not say it. */
  readonly unserved?: readonly string[];
  /** What lbd answers itself instead of asking a backend, with the cause. */
  readonly answer: { readonly status: number; readonly cause: string } | undefined;
  /** Each route up to the one that matches, with the first condition that fails; empty: it matches. */
  readonly routes: readonly {
    readonly route: number;
    readonly pool: string | undefined;
    readonly matched: boolean;
    readonly failed: string;
  }[];
  /** undefined: none. */
  readonly pool: string | undefined;
  readonly algorithm: string | undefined;
  readonly candidates: readonly {
    readonly backend: string;
    /** Takes new clients. */
    readonly available: boolean;
    readonly state: BackendState;
    readonly weight: number;
    readonly active: number;
    readonly latency_ms: number;
    /** Why it is excluded, or well. */
    readonly why: string;
  }[];
  /** Of each worker, since each has turns of its own; which one gets a connection is up to the kernel. */
  readonly picks: readonly ExplainedPick[];
}

/** `GET /v1/sessions` on `lbd.sock`. */
export interface SessionRow {
  readonly pool: string;
  readonly kind: 'source' | 'cookie';
  /** The client's address, or the first bytes of the cookie's hash: the cookie itself is never kept. */
  readonly key: string;
  readonly backend: string;
  readonly expires_in_ms: number;
}

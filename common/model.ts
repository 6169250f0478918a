/**
 * The configuration as the daemons see it: checked, defaults applied, durations in milliseconds, sizes in
 * bytes, names resolved. `common/config.ts` produces it from the YAML file; it is plain data, frozen, and
 * survives a structured clone (it is posted to the worker threads).
 */
export interface Config {
  /** Absolute path of the file that it was read from. */
  readonly file: string;
  /** SHA-256 (hex) over the effective settings that both nodes must share; comments and layout do not count. */
  readonly digest: string;
  /** Absent: this `lbd` runs alone as a single load balancer. Present exactly when `ha` is. */
  readonly cluster: ClusterConfig | undefined;
  readonly ha: HaConfig | undefined;
  readonly sync: SyncConfig;
  readonly sessions: SessionsConfig;
  /** Data plane threads, `auto` already resolved to the number of cores. 1 to 64. */
  readonly workers: number;
  readonly frontends: readonly FrontendConfig[];
  readonly pools: readonly PoolConfig[];
  readonly admin: AdminConfig;
}

export interface ClusterConfig {
  readonly name: string;
  /** Absolute path of the secret; read by `readSecret` in `common/secret.ts`, never kept in the config. */
  readonly secretFile: string;
  /** This node and the other one. */
  readonly self: NodeConfig;
  readonly peer: NodeConfig;
}

export interface NodeConfig {
  readonly name: string;
  /** IP address of the node itself, on which the other one reaches it. */
  readonly address: string;
  /** Higher is preferred as the active node. 1 to 254; default 100. */
  readonly priority: number;
}

export interface HaConfig {
  readonly heartbeat: {
    /** Time between two heartbeats on every path. 10 to 60000. */
    readonly intervalMs: number;
    /** Missed intervals after which the peer counts as dead. 2 to 100. */
    readonly deadAfter: number;
  };
  readonly paths: readonly PathConfig[];
  readonly vips: readonly VipConfig[];
  /** `undefined`: never take the role back; else wait so long after being ready. */
  readonly preemptDelayMs: number | undefined;
  readonly garp: { readonly count: number; readonly refreshMs: number };
  readonly track: { readonly lbd: boolean; readonly interfaces: readonly string[] };
  /** Absolute paths of executables, called with the role as their argument. */
  readonly notify: {
    readonly active: string | undefined;
    readonly standby: string | undefined;
    readonly fault: string | undefined;
  };
}

export type PathConfig =
  | {
      readonly type: 'multicast';
      readonly group: string;
      readonly port: number;
      readonly interface: string;
    }
  | { readonly type: 'unicast'; readonly port: number };

export interface VipConfig {
  /** Address without its prefix length. */
  readonly address: string;
  readonly prefix: number;
  readonly family: 4 | 6;
  readonly interface: string;
}

export interface SyncConfig {
  readonly port: number;
}

export interface SessionsConfig {
  /** Entries of the session table, a power of two. Default 1 Mi. */
  readonly capacity: number;
}

export interface AdminConfig {
  /** Where `GET /metrics` listens; undefined: nowhere. */
  readonly metrics: SocketAddress | undefined;
}

export interface SocketAddress {
  /** IP address, or host name for a backend; `*` only in `BindConfig`. */
  readonly host: string;
  readonly port: number;
}

export type Mode = 'http' | 'tcp';

export interface FrontendConfig {
  readonly name: string;
  /** `host` may be `*`: every address, IPv4 and IPv6. */
  readonly bind: readonly SocketAddress[];
  readonly mode: Mode;
  /** First match wins. Empty for `mode: tcp`. */
  readonly routes: readonly RouteConfig[];
  /** Name of the pool where no route matches. */
  readonly pool: string | undefined;
  /** Open client connections at the same time, over all workers; one more gets a 503 (http) or a reset (tcp). */
  readonly maxConnections: number;
  readonly timeouts: {
    /** http: from the first byte of a request to the end of its head. */
    readonly headMs: number;
    /** http: the longest pause between two pieces of a request body. */
    readonly bodyMs: number;
    /** http: a kept-alive connection without a request. */
    readonly keepAliveMs: number;
    /** tcp and upgraded connections: no byte in either direction. */
    readonly idleMs: number;
  };
  readonly limits: {
    /** http: bytes of a request or response head. */
    readonly headBytes: number;
    /** http: fields in a head. */
    readonly fields: number;
  };
}

export interface RouteConfig {
  /** All that are present must hold. */
  readonly match: MatchConfig;
  readonly pool: string;
}

/** A text condition: equal, starts with, or a regular expression (not anchored unless it says so). */
export type TextMatch =
  | { readonly exact: string }
  | { readonly prefix: string }
  | { readonly regex: RegExp }
  /** The field, cookie or parameter is there, whatever its value. */
  | { readonly present: true };

export interface MatchConfig {
  /** Lower case; `*.example.org` matches one or more labels in front. */
  readonly hosts: readonly string[];
  /** Path without the query. */
  readonly path: TextMatch | undefined;
  /** Upper case. Empty: any. */
  readonly methods: readonly string[];
  /** Field names in lower case. */
  readonly headers: readonly NamedMatch[];
  readonly cookies: readonly NamedMatch[];
  readonly query: readonly NamedMatch[];
}

export interface NamedMatch {
  readonly name: string;
  readonly value: TextMatch;
}

export const ALGORITHMS = [
  'round-robin',
  'weighted-round-robin',
  'least-connections',
  'weighted-least-connections',
  'ip-hash',
  'consistent-hash',
  'least-response-time',
  'random',
] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** What `consistent-hash` hashes. */
export type HashKey =
  | { readonly from: 'source' }
  | { readonly from: 'path' }
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'cookie'; readonly name: string };

export type StickConfig =
  /** lbd inserts a cookie that names the backend; nothing is stored. */
  | { readonly type: 'insert'; readonly cookie: string }
  /** The application's own cookie, learnt from its Set-Cookie; kept in the session table. */
  | { readonly type: 'learn'; readonly cookie: string; readonly expireMs: number }
  /** The client's address; kept in the session table. */
  | { readonly type: 'source'; readonly expireMs: number };

export interface PoolConfig {
  readonly name: string;
  readonly algorithm: Algorithm;
  /** Used by `consistent-hash` only. */
  readonly hash: {
    readonly key: HashKey;
    /** Bounded load: no backend gets more than this times the mean; 0 is off, else 1.01 to 10. */
    readonly loadFactor: number;
  };
  readonly stick: StickConfig | undefined;
  readonly health: HealthConfig;
  readonly drainTimeoutMs: number;
  readonly timeouts: {
    /** To the backend: TCP handshake. */
    readonly connectMs: number;
    /** http: from the end of the request to the head of the response, and between two pieces of its body. */
    readonly responseMs: number;
    /** http: an unused connection to a backend is kept so long. */
    readonly keepAliveMs: number;
  };
  readonly backends: readonly BackendConfig[];
}

export interface BackendConfig {
  readonly name: string;
  readonly address: SocketAddress;
  /** 0 to 256; 0 means no new clients except stuck ones. Default 1. */
  readonly weight: number;
}

export interface HealthConfig {
  readonly type: 'tcp' | 'http' | 'deep' | 'none';
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row after which a healthy backend is unhealthy. */
  readonly fall: number;
  /** Successes in a row after which an unhealthy backend is healthy. */
  readonly rise: number;
  /** http and deep only. */
  readonly path: string;
  readonly method: string;
  /** Host field; undefined: the backend's address. */
  readonly host: string | undefined;
  /** Accepted status codes as ranges, both ends included. Default 200 to 399 (http), 200 to 299 (deep). */
  readonly expect: readonly (readonly [low: number, high: number])[];
  /** Port if it is not the backend's own. */
  readonly port: number | undefined;
}

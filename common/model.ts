import type { AccessLogConfig } from './access-log-config.ts';
import type { SocketAddress } from './address.ts';
import type { EngineConfig } from './engine-config.ts';
import type { ForwardingConfig } from './forwarding-config.ts';
import type { HttpProtocol, PoolProtocol } from './protocols.ts';
import type { ResilienceConfig } from './resilience-config.ts';
import type { StickConfig } from './stick-config.ts';
import type { FrontendTlsConfig, PoolTlsConfig, RedirectConfig } from './tls-config.ts';

/** Thousands of backends fit; what is larger is not a config file. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

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
  /** Short digests of the sections of the file, to tell where two nodes differ; see `common/digest.ts`. */
  readonly sectionDigests: string;
  /** Absent: this `lbd` runs alone as a single load balancer. Present exactly when `ha` is. */
  readonly cluster: ClusterConfig | undefined;
  readonly ha: HaConfig | undefined;
  readonly sync: SyncConfig;
  readonly sessions: SessionsConfig;
  /** Data plane threads, `auto` already resolved to the number of cores. 1 to 64. */
  readonly workers: number;
  /** Whether workers read and write beside Node, see `lbd/io/direct-io.ts`. Absent: they do. */
  readonly directIo?: false | undefined;
  readonly frontends: readonly FrontendConfig[];
  readonly pools: readonly PoolConfig[];
  readonly admin: AdminConfig;
  /** Absent: `DEFAULT_RESOLVER`. */
  readonly resolver?: ResolverConfig | undefined;
}

/** How host names of backends are resolved. */
export interface ResolverConfig {
  /** Name servers; empty: those of `/etc/resolv.conf`. */
  readonly servers: readonly SocketAddress[];
  /** One try at one server. 100 to 30000. */
  readonly timeoutMs: number;
  /** Tries at each server. 1 to 5. */
  readonly attempts: number;
  /** A TTL below or above counts as this one. 100 to 86400000. */
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
}

export const DEFAULT_RESOLVER: ResolverConfig = {
  servers: [],
  timeoutMs: 2_000,
  attempts: 2,
  minTtlMs: 1_000,
  maxTtlMs: 60_000,
};

export interface ClusterConfig {
  readonly name: string;
  /** Absolute path of the secret; read by `readSecret` in `common/secret.ts`, never kept in the config. */
  readonly secretFile: string;
  /** Absolute path of the secret that is being replaced, which is accepted as well; undefined: none is. */
  readonly previousSecretFile?: string | undefined;
  /** This node and the other one. */
  readonly self: NodeConfig;
  readonly peer: NodeConfig;
}

export interface NodeConfig {
  readonly name: string;
  /** IP address of the node itself, on which the other one reaches it. */
  readonly address: string;
}

export interface HaConfig {
  readonly heartbeat: {
    /** Time between two heartbeats on every path. 10 to 60000. */
    readonly intervalMs: number;
    /** Missed intervals after which the peer counts as dead. 2 to 100. */
    readonly deadAfter: number;
  };
  readonly paths: readonly PathConfig[];
  /** By name. At least one; a config without `groups` has one with the name `default`. */
  readonly groups: readonly GroupConfig[];
  /** The VIPs of all groups. */
  readonly vips: readonly VipConfig[];
  readonly garp: { readonly count: number; readonly refreshMs: number };
  readonly track: {
    readonly lbd: boolean;
    readonly interfaces: readonly string[];
    /** After the start or a new link, a node that hears nothing takes nothing over for so long. 0 to 600000. */
    readonly settleMs: number;
  };
  /** undefined: a node that does not hear its peer counts as the one that lives. */
  readonly witness?: WitnessConfig | undefined;
  /** Absolute paths of executables, called with the role as their argument. */
  readonly notify: {
    readonly active: string | undefined;
    readonly standby: string | undefined;
    readonly fault: string | undefined;
  };
}

/** Third parties that tell a split from a death. */
export interface WitnessConfig {
  /** One of them must answer a node that does not hear its peer, or it is the one that is cut off. May be empty. */
  readonly addresses: readonly {
    readonly address: string;
    /** Over which it is asked, that of a VIP; undefined: as the routes say. */
    readonly interface: string | undefined;
    /** IPv4 on the VIP's own network, so that ARP reaches it. */
    readonly isNeighbour: boolean;
  }[];
  /** Between two checks. 100 to 3600000. */
  readonly intervalMs: number;
  /** An answer may take so long. 10 to 60000. */
  readonly timeoutMs: number;
  /** An IP address where a witness of Tandem grants leases; undefined: there is none. */
  readonly lease?: SocketAddress | undefined;
}

export type PathConfig =
  | {
      readonly type: 'multicast';
      readonly group: string;
      readonly port: number;
      readonly interface: string;
    }
  | { readonly type: 'unicast'; readonly port: number };

/** Addresses that move together, and who is to have them. */
export interface GroupConfig {
  readonly name: string;
  readonly vips: readonly VipConfig[];
  readonly routes: readonly VipRoute[];
  /** By node. Higher is preferred as the active node. 1 to 254; default 100. */
  readonly priority: Readonly<Record<string, number>>;
  /** `undefined`: never take the role back; else wait so long after being ready. */
  readonly preemptDelayMs: number | undefined;
}

export interface VipConfig {
  /** Address without its prefix length. */
  readonly address: string;
  readonly prefix: number;
  readonly family: 4 | 6;
  /** On which the address is while this node is active; `lo` for provider `lo`. */
  readonly interface: string;
  /** Whether the kernel adds a route to the prefix with the address. */
  readonly prefixRoute: boolean;
  /**
   * How the network learns where the address is. `interface`: by gratuitous ARP or a neighbour advertisement. `lo`: not
   * from this program; the address is on the loopback interface, for routing daemons. `exec`: by a command.
   */
  readonly provider: 'interface' | 'lo' | 'exec';
  /** Provider `exec`: an executable and its first arguments; `add` or `remove` and the address follow. Else empty. */
  readonly command: readonly string[];
}

/** A route that is on the active node only. */
export interface VipRoute {
  /** `ADDRESS/PREFIX`, canonical. */
  readonly to: string;
  readonly family: 4 | 6;
  /** Gateway; undefined: the destination is on the link. */
  readonly via: string | undefined;
  readonly interface: string;
  /** Source address of this host's own packets; undefined: the kernel picks it. */
  readonly src: string | undefined;
  /** Routing table, 1 to 4294967295; undefined: the main one. */
  readonly table: number | undefined;
}

export interface SyncConfig {
  readonly port: number;
  /** Bits of connection marks that travel with the flows of the kernel engine. 0 to 2^32 - 1. */
  readonly flowMarks: number;
}

export interface SessionsConfig {
  /** Entries of the session table, a power of two. Default 1 Mi. */
  readonly capacity: number;
}

export interface AdminConfig {
  /** Where `GET /metrics` listens; undefined: nowhere. */
  readonly metrics: SocketAddress | undefined;
}

export const MODES = ['http', 'tcp', 'udp'] as const;
export type Mode = (typeof MODES)[number];

/** A network, or one address with the longest prefix. */
export interface NetworkConfig {
  readonly address: string;
  readonly prefix: number;
  readonly family: 4 | 6;
}

export interface FrontendConfig extends ForwardingConfig {
  readonly name: string;
  /** `host` may be `*`: every address, IPv4 and IPv6. */
  readonly bind: readonly SocketAddress[];
  readonly mode: Mode;
  /** Modes tcp and udp only; undefined: lbd moves the bytes. */
  readonly engine?: EngineConfig | undefined;
  /** TLS with clients; undefined: none. */
  readonly tls: FrontendTlsConfig | undefined;
  /** Value of Strict-Transport-Security; undefined: not sent. */
  readonly hsts: string | undefined;
  /** Where no route matches, in the place of `pool`. */
  readonly redirect: RedirectConfig | undefined;
  /** Left out: as `protocolsOf` has it. */
  readonly protocols?: readonly HttpProtocol[] | undefined;
  /** Undefined: none. In mode udp only clients that are refused are in it. */
  readonly accessLog: AccessLogConfig | undefined;
  /** First match wins. Empty for `mode: udp`, and for `tcp` without `tls: passthrough`. */
  readonly routes: readonly RouteConfig[];
  /** Name of the pool where no route matches. */
  readonly pool: string | undefined;
  /**
   * Open client connections (udp: flows) at the same time, over all workers; one more gets a 503 (http), a reset (tcp)
   * or takes the place of a flow that may be a forged one (udp).
   */
  readonly maxConnections: number;
  /** Peers whose connections must begin with a PROXY protocol header, which tells the client. */
  readonly acceptProxy: readonly NetworkConfig[];
  readonly timeouts: {
    /** http: from the first byte of a request to the end of its head. */
    readonly headMs: number;
    /** http: the longest pause between two pieces of a request body, and the time in which `minRate` is measured. */
    readonly bodyMs: number;
    /** http: a kept-alive connection without a request. */
    readonly keepAliveMs: number;
    /** tcp and upgraded connections: no byte in either direction; udp: no datagram. */
    readonly idleMs: number;
  };
  readonly limits: {
    /** http: bytes of a request or response head. */
    readonly headBytes: number;
    /** http: fields in a head. */
    readonly fields: number;
    /** http: bytes a second that a client must send of a body, and read of an answer; 0: any. */
    readonly minRate: number;
    /** Connections or flows of one client (an IPv4 address, an IPv6 /64) at the same time; undefined: any number. */
    readonly perSource: number | undefined;
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
  /** Its source alone counts, which `RegexProgram` has taken; what clients send is never given to its engine. */
  | { readonly regex: RegExp }
  /** The field, cookie or parameter is there, whatever its value. */
  | { readonly present: true };

export interface MatchConfig {
  /** Lower case; `*.example.org` matches one or more labels in front. */
  readonly hosts: readonly string[];
  /** As `hosts`; `tls: passthrough` only. */
  readonly sni?: readonly string[] | undefined;
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

/** To these a weight is 0 or not. */
export const IGNORING_WEIGHTS: ReadonlySet<Algorithm> = new Set(['round-robin', 'least-connections']);

/** What `consistent-hash` hashes. */
export type HashKey =
  | { readonly from: 'source' }
  | { readonly from: 'path' }
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'cookie'; readonly name: string };

export interface PoolConfig extends ResilienceConfig {
  readonly name: string;
  /** http: what its backends are spoken to in. Left out: HTTP/1.1. */
  readonly protocol?: Exclude<PoolProtocol, 'http/1.1'>;
  readonly algorithm: Algorithm;
  /** Used by `consistent-hash` only. */
  readonly hash: {
    readonly key: HashKey;
    /** Bounded load: no backend gets more than this times the mean; 0 is off, else 1.01 to 10. */
    readonly loadFactor: number;
  };
  readonly stick: StickConfig | undefined;
  readonly health: HealthConfig;
  /** TLS with the backends; undefined: none. */
  readonly tls: PoolTlsConfig | undefined;
  readonly drainTimeoutMs: number;
  readonly timeouts: {
    /** To the backend: TCP handshake. */
    readonly connectMs: number;
    /** http: one try, from the end of the request to the head of the response. */
    readonly responseMs: number;
    /** http: between two pieces of a response's body. */
    readonly idleMs: number;
    /** http: a whole request with all tries, up to the end of its answer; 0: no limit. Ends with an upgrade. */
    readonly totalMs: number;
    /** http: an unused connection to a backend is kept so long. */
    readonly keepAliveMs: number;
  };
  readonly connections: {
    /** http: a connection to a backend that is as old takes no further request; 0: any age. */
    readonly maxAgeMs: number;
    /** http, by HTTP/2: requests at a time on one connection; left out: `DEFAULT_STREAMS`. */
    readonly streams?: number;
  };
  /** Version of the PROXY protocol header with which each connection to a backend begins; undefined: none. */
  readonly sendProxy: 'v1' | 'v2' | undefined;
  /** Where all backends that a client may have are at their `max_connections`. */
  readonly queue: {
    /** Who waits at the same time, over all workers; 0: nobody. */
    readonly length: number;
    readonly timeoutMs: number;
  };
  readonly backends: readonly BackendConfig[];
}

export interface BackendConfig {
  readonly name: string;
  readonly address: SocketAddress;
  /** 0 to 256; 0 means no new clients except stuck ones. Default 1. */
  readonly weight: number;
  /** Requests (http), connections (tcp) or flows (udp) at the same time, over all workers; undefined: any number. */
  readonly maxConnections: number | undefined;
}

export interface HealthConfig {
  readonly type: 'tcp' | 'http' | 'deep' | 'udp' | 'none';
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
  /** http and deep only: status codes by which a backend asks to be drained, as `expect`, before which it goes. */
  readonly drain?: HealthConfig['expect'] | undefined;
  /** false: checks go in the clear, although the pool has `tls`. */
  readonly tls?: boolean | undefined;
  /** Port if it is not the backend's own. */
  readonly port: number | undefined;
  /** udp only: datagram to send, each character a byte. */
  readonly send: string;
  /** udp only: bytes that the answer must contain, each character a byte. Empty: any answer. */
  readonly receive: string;
}

import type { FrontendConfig, PoolConfig } from './model.ts';

/** What clients of a frontend of mode http may speak, by its name in ALPN (RFC 7301). */
export type HttpProtocol = 'h2' | 'http/1.1';

/** What the backends of a pool in mode http are spoken to in; `auto`: whichever they choose by ALPN. */
export type PoolProtocol = HttpProtocol | 'auto';

/** Most wanted first. Where TLS does not tell which, a client of `h2` begins with its preface (RFC 9113 §3.3). */
export function protocolsOf({ mode, protocols, tls }: FrontendConfig): readonly HttpProtocol[] {
  if (mode !== 'http') return [];
  return protocols ?? defaultProtocols(tls !== undefined);
}

/** @param hasTls of the frontend */
export function defaultProtocols(hasTls: boolean): readonly HttpProtocol[] {
  return hasTls ? ['h2', 'http/1.1'] : ['http/1.1'];
}

/** What is offered by ALPN. */
export function alpnOf(frontend: FrontendConfig): readonly string[] {
  if (frontend.tls?.mode !== 'terminate') return [];
  return frontend.mode === 'http' ? protocolsOf(frontend) : frontend.tls.alpn;
}

export function isHttpProtocol(name: string): name is HttpProtocol {
  return name === 'h2' || name === 'http/1.1';
}

/** Where nothing tells which, it is HTTP/1.1. */
export function poolProtocolOf({ protocol, tls }: PoolConfig): PoolProtocol {
  return protocol === 'h2' || (protocol === 'auto' && tls !== undefined) ? protocol : 'http/1.1';
}

import { isIP } from 'node:net';
import { type ConnectionOptions, createSecureContext, type SecureContext } from 'node:tls';
import type { PoolTlsConfig } from '../../common/tls-config.ts';
import type { PoolMaterial } from './material.ts';
import { BACKEND_SETTINGS } from './settings.ts';

/** How the backends of one pool are spoken to. Made once for each pool: reading the authorities takes milliseconds. */
export class PoolTls {
  /** Differs when anything differs that was made a connection with. */
  readonly version: string;
  readonly #config: PoolTlsConfig;
  readonly #context: SecureContext;

  /** @throws Error where OpenSSL does not take the material */
  constructor(config: PoolTlsConfig, { ca, client, version }: PoolMaterial) {
    this.version = version;
    this.#config = config;
    this.#context = createSecureContext({ ...BACKEND_SETTINGS, ca, cert: client?.cert, key: client?.key });
  }

  /**
   * For `tls.connect` to one backend. With verification on, a connection is `secureConnect`ed only to a backend that
   * has proven to be the one of this name.
   *
   * @param host as in the config; the name in its certificate, where `server_name` gives none
   */
  optionsFor(host: string): ConnectionOptions {
    const { serverName, verify } = this.#config;
    // RFC 6066 §3: without the root's dot.
    const name = serverName ?? (isIP(host) === 0 ? host.replace(/\.$/, '') : undefined);
    return {
      secureContext: this.#context,
      rejectUnauthorized: verify,
      // An address is no server name (RFC 6066 section 3), but a certificate may be for one.
      ...(name !== undefined && { servername: name }),
    };
  }
}

/** One backend that is spoken to in TLS, as a worker sees it. */
export class BackendTls {
  readonly options: ConnectionOptions;
  /** The latest session, so that the next connection need not prove everything again. */
  session: Buffer | undefined;

  /** @param alpn what is offered by ALPN (RFC 7301), most wanted first; none: nothing is said */
  constructor(pool: PoolTls, host: string, alpn: readonly string[] = []) {
    this.options = { ...pool.optionsFor(host), ...(alpn.length > 0 && { ALPNProtocols: [...alpn] }) };
  }
}

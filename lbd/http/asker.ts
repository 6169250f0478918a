import { hashText } from '../../common/hash.ts';
import type { FrontendConfig } from '../../common/model.ts';
import type { Frontend } from '../entry/frontend.ts';
import type { AccessRecord } from '../log/access-record.ts';
import { OVER_LIMIT, UNCOUNTED } from '../shared/source-limits.ts';
import { askedBy, type Believed, type Client } from './client-behind.ts';
import { FieldBlock } from './field-names.ts';
import { forwardedFields, peerFields } from './forwarded-fields.ts';
import type { HttpRequest } from './model.ts';
import type { Peer } from './peer.ts';

const NO_FIELDS = new FieldBlock();

/**
 * Whose requests come in on a stream: the peer that has the connection, or behind a trusted proxy somebody else with each
 * request.
 */
export class Asker {
  address: string;
  /** `hashText(address)` */
  addressHash: number;
  /** What the client speaks. */
  scheme: 'http' | 'https';
  /** What of the request's own words about its client counts. */
  believed: Believed = 'nothing';
  /** Tell a backend who asked, and how. */
  fields = NO_FIELDS;
  /** Who has the connection. */
  readonly #peer: Peer;
  readonly #frontend: Frontend;
  /** By which the last request was identified. */
  #identifiedBy: FrontendConfig | undefined;
  /** Where the request under way is counted on its client; see `SourceLimits`. */
  #sourceCell = UNCOUNTED;

  constructor(frontend: Frontend, peer: Peer) {
    this.#frontend = frontend;
    this.#peer = peer;
    this.address = peer.address;
    this.addressHash = hashText(peer.address);
    this.scheme = peer.scheme;
  }

  /** Tells backends whose certificate the client has shown; undefined: none. */
  get identity(): FieldBlock | undefined {
    return this.#peer.identity;
  }

  /** Finds out whose request this is. */
  identify(request: Pick<HttpRequest, 'header'>, log: AccessRecord | undefined): void {
    const { config } = this.#frontend;
    if (config === this.#identifiedBy && this.believed === 'nothing') return;
    this.#identifiedBy = config;
    const { client, believed } = askedBy(request, this.#peer, this.#frontend);
    this.believed = believed;
    this.fields =
      believed === 'nothing'
        ? peerFields(config, this.#peer)
        : forwardedFields(config, believed, client, this.#peer.address, request);
    this.#serve(client, log);
  }

  /** No request will come for a while. */
  rest(): void {
    if (this.believed !== 'nothing') this.fields = NO_FIELDS;
  }

  /** The next request may be anybody's. */
  forget(log: AccessRecord | undefined): void {
    if (this.believed !== 'nothing') this.#serve(this.#peer, log);
  }

  #serve({ address, scheme }: Client, log: AccessRecord | undefined): void {
    this.scheme = scheme;
    if (log !== undefined) log.client = address;
    if (address === this.address) return;
    this.address = address;
    this.addressHash = hashText(address);
  }

  /**
   * Counts a request on its client, where its connection is that of a trusted proxy.
   *
   * @returns false: the client has as many as it may
   */
  enterSource(): boolean {
    if (this.believed === 'nothing') return true;
    const { config, context, row } = this.#frontend;
    const { perSource } = config.limits;
    if (perSource === undefined) return true;
    this.#sourceCell = context.shared.sources.enter(row, this.address, perSource);
    if (this.#sourceCell !== OVER_LIMIT) return true;
    context.refuseSource?.(this.#frontend, this.address);
    return false;
  }

  /** The request under way is over. */
  leaveSource(): void {
    if (this.#sourceCell < 0) return;
    this.#frontend.context.shared.sources.leave(this.#sourceCell);
    this.#sourceCell = UNCOUNTED;
  }
}

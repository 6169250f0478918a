import type net from 'node:net';
import type { Endpoints } from '../../common/proxy-protocol.ts';
import type { Frontend } from '../entry/frontend.ts';
import { clientAddress } from '../io/raw-socket.ts';
import { identityText, isSecure } from '../tls/client-identity.ts';
import type { Client } from './client-behind.ts';
import { Field, FieldBlock, FieldName } from './field-names.ts';

/** Who has a client connection. */
export interface Peer extends Client {
  /** Tells backends whose certificate it has shown; undefined: none. */
  readonly identity: FieldBlock | undefined;
}

/** @param endpoints from a PROXY header; undefined: the ends of the socket are those of the client */
export function peerOf(socket: net.Socket, { config }: Frontend, endpoints: Endpoints | undefined): Peer {
  const address = endpoints?.address ?? clientAddress(socket);
  if (!isSecure(socket)) return { address, scheme: 'http', identity: undefined };
  const identity = identityText(socket, config.tls);
  const fields = identity && new FieldBlock(new Field(new FieldName(identity.header), identity.subject));
  return { address, scheme: 'https', identity: fields };
}

import type { AddedField, ForwardingConfig } from '../../common/forwarding-config.ts';
import type { Believed, Client } from './client-behind.ts';
import { Field, FieldBlock, FieldName } from './field-names.ts';
import type { HttpRequest } from './model.ts';

export const FORWARDED_FOR = new FieldName('X-Forwarded-For');
export const FORWARDED_PROTO = new FieldName('X-Forwarded-Proto');
export const FORWARDED_HOST = new FieldName('X-Forwarded-Host');

const NOBODY = { header: () => undefined };

/** Whether a frontend adds a field to its requests. */
export function adds({ addFields }: ForwardingConfig, field: AddedField): boolean {
  return addFields === undefined || addFields.includes(field);
}

/** Clients of a frontend whose fields are kept; one more, and all are made anew. */
const MAX_KEPT = 1024;

/** By frontend, then by client. */
const kept = new WeakMap<ForwardingConfig, Map<string, FieldBlock>>();

/** As `forwardedFields`, for a client whose own words do not count: most come again, each time with a new connection. */
export function peerFields(config: ForwardingConfig, peer: Client): FieldBlock {
  const blocks = kept.get(config) ?? new Map<string, FieldBlock>();
  if (blocks.size === 0) kept.set(config, blocks);
  const key = peer.scheme === 'https' ? peer.address : `-${peer.address}`;
  let block = blocks.get(key);
  if (block === undefined) {
    if (blocks.size === MAX_KEPT) blocks.clear();
    block = forwardedFields(config, 'nothing', peer, peer.address, NOBODY);
    blocks.set(key, block);
  }
  return block;
}

/**
 * What tells a backend who asked, and how. What a trusted proxy said goes on, with the proxy behind it.
 *
 * @param peer who has the connection
 * @param request looked at only where its own words count
 */
export function forwardedFields(
  config: ForwardingConfig,
  believed: Believed,
  client: Client,
  peer: string,
  request: Pick<HttpRequest, 'header'>,
): FieldBlock {
  const fields: Field[] = [];
  const chained = believed === 'x-forwarded';
  if (adds(config, 'X-Forwarded-For')) {
    const sent = chained ? request.header(FORWARDED_FOR.lower) : undefined;
    const before = chained ? sent : client.address === peer ? undefined : client.address;
    const chain = before === undefined || before === '' ? peer : `${before}, ${peer}`;
    // Which of the trusted proxies it came through must not change what a route or a hash makes of it.
    fields.push(new Field(FORWARDED_FOR, chain, sent ?? client.address));
  }
  const saysProto = chained && request.header(FORWARDED_PROTO.lower) !== undefined;
  if (adds(config, 'X-Forwarded-Proto') && !saysProto) fields.push(new Field(FORWARDED_PROTO, client.scheme));
  return new FieldBlock(...fields);
}

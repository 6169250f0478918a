import type { AddedField, ForwardingConfig } from '../../common/forwarding-config.ts';
import type { Believed, Client } from './client-behind.ts';
import { Field, FieldBlock, FieldName } from './field-names.ts';
import type { HttpRequest } from './model.ts';

export const FORWARDED_FOR = new FieldName('X-Forwarded-For');
export const FORWARDED_PROTO = new FieldName('X-Forwarded-Proto');
export const FORWARDED_HOST = new FieldName('X-Forwarded-Host');

/** Whether a frontend adds a field to its requests. */
export function adds({ addFields }: ForwardingConfig, field: AddedField): boolean {
  return addFields === undefined || addFields.includes(field);
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

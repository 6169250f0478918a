import { z } from 'zod';
import { network, oneOrMore } from './fields.ts';
import type { NetworkConfig } from './model.ts';

/** Who a client is where proxies stand in front, and what backends are told of it: what may be written, what it becomes. */

/** Fields that lbd adds to a request. */
export const ADDED_FIELDS = [
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Request-Id',
  'CDN-Loop',
] as const;
export type AddedField = (typeof ADDED_FIELDS)[number];

export interface ForwardingConfig {
  /** Proxies in front that are believed who their clients are; undefined: nobody is. */
  readonly trustedProxies?: readonly NetworkConfig[] | undefined;
  /** Where they say so; undefined: in `X-Forwarded-For`. */
  readonly clientField?: 'Forwarded' | undefined;
  /** Undefined: all. */
  readonly addFields?: readonly AddedField[] | undefined;
}

/** Keys of `frontends.X`. */
export const forwardingKeys = {
  trusted_proxies: oneOrMore(network, 'a list of networks, such as [10.0.0.0/8]').optional().meta({
    description:
      'Mode http: proxies in front that are believed who their clients are. Of the addresses in `client_field`, from the right, the first that is none of theirs is the client: for sticks, hashes, logs and `limits.per_source`, which then counts requests in the place of their connections. What others say of themselves is replaced.',
    'x-default': 'none',
    'x-example': '[10.0.0.0/8]',
  }),
  client_field: z
    .enum(['X-Forwarded-For', 'Forwarded'])
    .default('X-Forwarded-For')
    .describe(
      'Mode http: the field in which `trusted_proxies` tell the client; with `X-Forwarded-For` also `X-Forwarded-Proto` and `X-Forwarded-Host` are believed. The other one of the two, `Forwarded` (RFC 7239), is taken out.',
    ),
  add_fields: z
    .array(z.enum(ADDED_FIELDS), { error: `a list of ${ADDED_FIELDS.join(', ')}` })
    .default([...ADDED_FIELDS])
    .describe(
      'Mode http: fields that lbd adds to a request. `[]`: none. `CDN-Loop` (RFC 8586) is added from the second turn of a request on, and ends one that goes round.',
    ),
};

type ForwardingShape = z.output<z.ZodObject<typeof forwardingKeys>>;

/** What is said and no default, so that a config without it is the same as before. */
export function forwardingOf(shape: ForwardingShape): ForwardingConfig {
  const { trusted_proxies: trustedProxies, client_field: clientField, add_fields: addFields } = shape;
  return {
    ...(trustedProxies && { trustedProxies }),
    ...(clientField === 'Forwarded' && { clientField }),
    ...(ADDED_FIELDS.some((field) => !addFields.includes(field)) && { addFields }),
  };
}

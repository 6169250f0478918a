import type { AddedField, ForwardingConfig } from '../../common/forwarding-config.ts';
import type { Believed, Client } from './client-behind.ts';

/** Which fields about a request lbd adds to it. */
export interface Added {
  readonly for: boolean;
  readonly proto: boolean;
  readonly host: boolean;
  readonly requestId: boolean;
  readonly loop: boolean;
}

/** As without a word in the config. */
export const ADD_ALL: Added = { for: true, proto: true, host: true, requestId: true, loop: true };

export function addedBy({ addFields }: ForwardingConfig): Added {
  if (addFields === undefined) return ADD_ALL;
  const adds = (field: AddedField) => addFields.includes(field);
  return {
    for: adds('X-Forwarded-For'),
    proto: adds('X-Forwarded-Proto'),
    host: adds('X-Forwarded-Host'),
    requestId: adds('X-Request-Id'),
    loop: adds('CDN-Loop'),
  };
}

/**
 * The lines that tell a backend who asked, and how, each with its CRLF. What a trusted proxy said goes on, with the proxy
 * behind it.
 *
 * @param peer who has the connection
 * @param sent the request's own `X-Forwarded-For` and `X-Forwarded-Proto`
 */
export function forwardedLines(
  added: Added,
  believed: Believed,
  client: Client,
  peer: string,
  sent: { readonly for?: string | undefined; readonly proto?: string | undefined } = {},
): Buffer {
  const before = believed === 'x-forwarded' ? sent.for : client.address === peer ? undefined : client.address;
  const chain = before === undefined || before === '' ? peer : `${before}, ${peer}`;
  const tellsProto = added.proto && !(believed === 'x-forwarded' && sent.proto !== undefined);
  return Buffer.from(
    `${added.for ? `X-Forwarded-For: ${chain}\r\n` : ''}${tellsProto ? `X-Forwarded-Proto: ${client.scheme}\r\n` : ''}`,
    'latin1',
  );
}

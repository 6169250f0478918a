import type { RedirectConfig } from '../../common/tls-config.ts';
import type { HttpRequest } from './model.ts';

/** Where a request belongs that came in the clear; undefined where it does not say to which host. */
export function httpsLocation(
  { host, path, query }: Pick<HttpRequest, 'host' | 'path' | 'query'>,
  { port }: RedirectConfig,
): string | undefined {
  if (host === '') return undefined;
  return `https://${host}${port === 443 ? '' : `:${port}`}${path}${query === '' ? '' : `?${query}`}`;
}

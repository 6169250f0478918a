import type { StickConfig } from '../../common/stick-config.ts';

type Inserted = Extract<StickConfig, { type: 'insert' }>;

const SAME_SITE = { strict: 'Strict', lax: 'Lax', none: 'None' } as const;

/**
 * The value of a `Set-Cookie` that has a browser keep which backend it has (RFC 6265 §4.1).
 *
 * @param isSecure the client came by HTTPS
 */
export function stickCookie(stick: Inserted, backend: string, isSecure: boolean): string {
  const { path = '/', domain, sameSite = 'lax', secure = 'auto', maxAgeMs } = stick.attributes ?? {};
  const attributes = [
    `${stick.cookie}=${backend}`,
    `Path=${path}`,
    ...(domain === undefined ? [] : [`Domain=${domain}`]),
    ...(maxAgeMs === undefined ? [] : [`Max-Age=${Math.floor(maxAgeMs / 1000)}`]),
    'HttpOnly',
    `SameSite=${SAME_SITE[sameSite]}`,
    ...(secure === true || (secure === 'auto' && isSecure) ? ['Secure'] : []),
  ];
  return attributes.join('; ');
}

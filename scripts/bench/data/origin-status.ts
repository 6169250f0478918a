import { ORIGIN_PORT } from './setup.ts';

/** Not below the route that proxies pass on. */
export const STATUS_PATH = '/origin-status';

/** What the origin says about itself: in the form of nginx's stub_status. */
export function statusText(accepted: number): string {
  return `Active connections: 1\nserver accepts handled requests\n ${accepted} ${accepted} ${accepted}\n`;
}

/**
 * Connections that the origin has accepted since it started: where they grow with the requests, a proxy does not use
 * its connections again, and that is what its figures show.
 */
export async function originConnections(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${ORIGIN_PORT}${STATUS_PATH}`)).text();
  const accepted = /\n (\d+) \d+ \d+/.exec(text)?.[1];
  if (accepted === undefined) throw new Error(`the origin says: ${text.slice(0, 80)}`);
  return Number(accepted);
}

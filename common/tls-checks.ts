import { isHttpProtocol } from './protocols.ts';
import type { Report } from './report.ts';
import type { Shape } from './schema.ts';

type Frontend = Shape['frontends'][string];

/** Fields that a client certificate's subject must not take the place of. */
const TAKEN =
  /^(host|connection|content-length|transfer-encoding|upgrade|te|trailer|cookie|x-forwarded-.*|x-request-id)$/i;

/** What goes together where TLS is concerned. */
export function checkTls(shape: Shape, report: Report): void {
  for (const [name, frontend] of Object.entries(shape.frontends)) checkFrontend(name, frontend, report);
  for (const [name, { tls, health }] of Object.entries(shape.pools)) {
    if (tls === undefined && health.tls === true)
      report(
        ['pools', name, 'health', 'tls'],
        'needs "tls" on the pool: how should the backends be verified?',
        'key',
      );
    if (tls === undefined) continue;
    const path = ['pools', name, 'tls'];
    if ((tls.cert === undefined) !== (tls.key === undefined))
      report([...path, tls.cert === undefined ? 'key' : 'cert'], '"cert" and "key" need each other', 'key');
    if (!tls.verify && tls.ca !== undefined)
      report([...path, 'ca'], 'is of no use with "verify: false"', 'key');
  }
}

function checkProtocols({ mode, protocols, tls }: Frontend, path: string[], report: Report): void {
  const alpn = tls?.mode === 'terminate' ? tls.alpn : undefined;
  if (protocols !== undefined && mode !== 'http')
    report([...path, 'protocols'], `is for mode http only, found mode ${mode}`, 'key');
  if (protocols !== undefined && new Set(protocols).size < protocols.length)
    report([...path, 'protocols'], 'names one of them twice');
  if (alpn === undefined || mode !== 'http') return;
  if (protocols !== undefined)
    report(
      [...path, 'tls', 'alpn'],
      'stands beside "protocols", which says the same: expected one of them',
      'key',
    );
  const other = alpn.find((name) => !isHttpProtocol(name));
  if (other !== undefined)
    report([...path, 'tls', 'alpn'], `found ${other}: mode http speaks h2 and http/1.1`);
}

function checkFrontend(name: string, frontend: Frontend, report: Report): void {
  const path = ['frontends', name];
  const { mode, tls, hsts, redirect, routes } = frontend;
  const terminates = tls !== undefined && tls.mode === 'terminate';
  if (tls !== undefined && mode === 'udp') report([...path, 'tls'], 'is for mode http and tcp', 'key');
  if (tls?.mode === 'passthrough' && mode === 'http')
    report(
      [...path, 'tls'],
      'found passthrough, which is for mode tcp only: lbd cannot read what it does not decrypt',
    );
  checkProtocols(frontend, path, report);
  if (hsts !== undefined && (mode !== 'http' || !terminates))
    report([...path, 'hsts'], 'is for mode http with "tls" only (RFC 6797 section 7.2)', 'key');
  if (redirect !== undefined) {
    if (mode !== 'http') report([...path, 'redirect'], `is for mode http only, found mode ${mode}`, 'key');
    if (terminates)
      report([...path, 'redirect'], 'would redirect https to https: it belongs to the plain frontend', 'key');
    if (frontend.pool !== undefined)
      report([...path, 'redirect'], 'stands in the place of "pool": where no route matches', 'key');
  }
  for (const [i, { match }] of routes.entries()) {
    const keys = Object.keys(match);
    if (tls?.mode === 'passthrough') {
      const other = keys.find((key) => key !== 'sni');
      if (other !== undefined)
        report(
          [...path, 'routes', i, 'match', other],
          'cannot be read with tls: passthrough, expected sni',
          'key',
        );
    } else if (keys.includes('sni'))
      report([...path, 'routes', i, 'match', 'sni'], 'is for tls: passthrough only; use host', 'key');
  }
  if (!terminates || tls.client === undefined) return;
  if (mode !== 'http' && 'header' in tls.client && tls.client.header !== 'X-Client-Subject')
    report([...path, 'tls', 'client', 'header'], 'is for mode http only', 'key');
  if (TAKEN.test(tls.client.header))
    report([...path, 'tls', 'client', 'header'], `found ${tls.client.header}, which has another meaning`);
}

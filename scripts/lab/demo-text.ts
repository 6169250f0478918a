import { stripVTControlCharacters } from 'node:util';
import { FAULTS } from './faults.ts';
import { NODES, VIP } from './hosts.ts';
import { type FaultResult, regained, resolvedMs } from './scenario.ts';
import { STICKY_KINDS, type StickyKind } from './sticky.ts';

const STICKY_WORDS: Readonly<Record<StickyKind, string>> = {
  cookie: 'by inserted cookie',
  learnt: 'by learnt cookie',
  source: 'by source address',
};

/** A label and its value, in two columns. */
function row(label: string, value: string): string {
  return `   ${label.padEnd(28)}${value}`;
}

export function milliseconds(ms: number | undefined): string {
  return ms === undefined || Number.isNaN(ms) ? '–' : `${Math.round(ms)} ms`;
}

export function indent(text: string): string {
  return text.trimEnd().replaceAll(/^(?=.)/gm, '   ');
}

/** What a stranger wants to know after the fault. */
export function resultText(result: FaultResult, intervalMs = 2): string {
  const { probe, sticky, keptAlive } = result;
  const resolved = resolvedMs(result);
  const stayed = FAULTS[result.fault].vip === 'stays' && result.changes?.length === 0;
  return [
    '   What clients saw',
    row('new connections', `${probe.requests}, one every ${intervalMs} ms`),
    row('of these failed', String(probe.failures)),
    row('longest blackout', milliseconds(probe.blackoutMs)),
    row('open connections broken', `${keptAlive.broken} of ${keptAlive.total}`),
    '',
    '   Clients that still have their backend',
    ...STICKY_KINDS.map((kind) => row(STICKY_WORDS[kind], `${sticky[kind].kept} of ${sticky[kind].total}`)),
    '',
    `   The address ${VIP}`,
    ...(stayed ? [row(`on ${result.from}`, 'all the time')] : moveRows(result)),
    row('on both nodes for', milliseconds(result.twoOwnersMs)),
    ...(resolved === undefined ? [] : [row('on one after the end', milliseconds(resolved))]),
    row('neighbours send it to', result.neighbour ?? 'nobody'),
  ].join('\n');
}

function moveRows(result: FaultResult): string[] {
  const gone = result.vipGoneMs === undefined ? 'with the node' : milliseconds(result.vipGoneMs);
  return [
    row(`on ${result.to} after`, milliseconds(result.takeoverMs)),
    row(`gone from ${result.from} after`, gone),
  ];
}

/** Events of both nodes and of the clients, in milliseconds after the fault. */
export function timelineText(result: FaultResult): string {
  const { atMs, blackoutMs } = result.probe;
  const lines = [
    { atMs: result.faultAtMs, who: '', text: `${FAULTS[result.fault].title} (${result.from})` },
    ...result.events.map((event) => ({
      atMs: event.mono_ms,
      who: `${event.node} ${event.source}`,
      text: event.text,
    })),
    ...(blackoutMs === 0
      ? []
      : [
          { atMs, who: 'client', text: 'a new connection fails, the first of the longest blackout' },
          { atMs: atMs + blackoutMs, who: 'client', text: 'new connections are answered again' },
        ]),
  ].toSorted((a, b) => a.atMs - b.atMs);
  return lines
    .map(({ atMs, who, text }) => {
      const after = Math.round(atMs - result.faultAtMs);
      return `   ${`${after < 0 ? '' : '+'}${after} ms`.padStart(8)}  ${who.padEnd(10)}  ${stripVTControlCharacters(text)}`;
    })
    .join('\n');
}

/** What must hold after any fault and does not; empty when all is well. */
export function broken(result: FaultResult): string[] {
  const lost = STICKY_KINDS.filter((kind) => result.sticky[kind].kept < result.sticky[kind].total);
  const { vip, twoOwners, unnoticed } = FAULTS[result.fault];
  // What came too late for the clients' patience was not lost.
  const causes = result.keptAlive.causes.filter((cause) => cause !== 'timeout');
  return [
    ...lost.map((kind) => `sticky clients (${kind}) lost their backend`),
    ...(result.holders.join() === result.to
      ? []
      : [`the address is held by ${result.holders.join(' and ') || 'no node'}`]),
    ...(result.neighbour === result.to
      ? []
      : [`the client's ARP entry points to ${result.neighbour ?? 'nobody'}, not to ${result.to}`]),
    ...(vip === 'stays' && result.changes !== undefined && result.changes.length > 0
      ? ['the address moved without need']
      : []),
    // Only where one clock saw both nodes.
    ...(twoOwners === undefined && result.changes !== undefined && result.twoOwnersMs > 0
      ? [`both nodes had the address for ${milliseconds(result.twoOwnersMs)}`]
      : []),
    ...(regained(result) ? [`${result.from} took the address again`] : []),
    ...(unnoticed && causes.length > 0 ? [`open connections broke: ${causes.join(', ')}`] : []),
  ];
}

/** To a tenth of a millisecond: nothing here is more exact. */
function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** One object for programs; names as in `lbctl --json`. */
export function resultJson(result: FaultResult, wholeAgainMs: number): object {
  const { probe, sticky, keptAlive } = result;
  const resolved = resolvedMs(result);
  return {
    fault: result.fault,
    nodes: NODES,
    from: result.from,
    to: result.to,
    requests: probe.requests,
    failures: probe.failures,
    causes: probe.causes,
    blackout_ms: tenths(probe.blackoutMs),
    sticky: Object.fromEntries(
      STICKY_KINDS.map((kind) => [kind, { kept: sticky[kind].kept, total: sticky[kind].total }]),
    ),
    kept_alive: keptAlive,
    takeover_ms: tenths(result.takeoverMs),
    vip_gone_ms: result.vipGoneMs === undefined ? null : tenths(result.vipGoneMs),
    two_owners_ms: tenths(result.twoOwnersMs),
    resolved_ms: resolved === undefined ? null : tenths(resolved),
    holders: result.holders,
    neighbour: result.neighbour ?? null,
    whole_again_ms: tenths(wholeAgainMs),
    broken: broken(result),
    events: result.events.map(({ node, source, kind, text, mono_ms }) => ({
      after_ms: tenths(mono_ms - result.faultAtMs),
      node,
      source,
      kind,
      text,
    })),
  };
}

#!/usr/bin/env -S node --disable-sigusr1
import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const SOURCES = ['common/**/*.ts', 'ha-agent/**/*.ts', 'lbd/**/*.ts'];

/** What a mode of whole connections stands on. */
const STREAM_MODE = [
  'common',
  'lbd/dispatch',
  'lbd/entry',
  'lbd/io',
  'lbd/log',
  'lbd/route',
  'lbd/shared',
  'lbd/tls',
];

/**
 * The rooms of the sources, from the ground up, and what each may import besides itself. A room stands above all that it
 * imports, so that no two of them need each other. docs/architecture.md draws and explains them.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  common: [],
  'ha-agent': ['common'],
  'lbd/io': ['common'],
  'lbd/route': ['common'],
  'lbd/session': ['common'],
  'lbd/tls': ['common', 'lbd/io', 'lbd/session'],
  'lbd/shared': ['common', 'lbd/session', 'lbd/tls'],
  'lbd/log': ['common', 'lbd/route', 'lbd/shared'],
  'lbd/flow': ['common', 'lbd/session'],
  'lbd/kernel': ['common', 'lbd/flow', 'lbd/io', 'lbd/session', 'lbd/shared'],
  'lbd/dispatch': ['common', 'lbd/io', 'lbd/route', 'lbd/session', 'lbd/shared', 'lbd/tls'],
  'lbd/entry': ['common', 'lbd/dispatch', 'lbd/io', 'lbd/log', 'lbd/route', 'lbd/shared', 'lbd/tls'],
  'lbd/http': STREAM_MODE,
  'lbd/http/h1': [...STREAM_MODE, 'lbd/http'],
  // What comes by HTTP/2 becomes a head of HTTP/1, which is read by the rules of HTTP/1.
  'lbd/http/h2': [...STREAM_MODE, 'lbd/http', 'lbd/http/h1'],
  'lbd/tcp': STREAM_MODE,
  'lbd/udp': ['common', 'lbd/dispatch', 'lbd/entry', 'lbd/io', 'lbd/log', 'lbd/route', 'lbd/shared'],
  'lbd/plane': [
    ...['common', 'lbd/dispatch', 'lbd/entry', 'lbd/http', 'lbd/io', 'lbd/log', 'lbd/route', 'lbd/session'],
    ...['lbd/http/h1', 'lbd/http/h2', 'lbd/shared', 'lbd/tcp', 'lbd/tls', 'lbd/udp'],
  ],
  'lbd/control': ['common', 'lbd/flow', 'lbd/kernel', 'lbd/log', 'lbd/session', 'lbd/shared', 'lbd/tls'],
  // What starts threads and processes, and nothing else.
  lbd: ['common', 'lbd/control', 'lbd/io', 'lbd/plane', 'lbd/session', 'lbd/shared', 'lbd/tls'],
};

/** Modules of this tree that a source imports or exports from, as paths in the tree. Types count as well. */
export function importsOf(file: string, text: string): string[] {
  const specifiers = text.matchAll(
    /^(?:import|export|\})[^;'"]*?\bfrom\s*'(\.[^']+)'|^import\s*'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'/gm,
  );
  return [...specifiers]
    .map(([, from, bare, dynamic]) => from ?? bare ?? dynamic ?? '')
    .filter((specifier) => specifier.endsWith('.ts'))
    .map((specifier) => posix.join(posix.dirname(file), specifier));
}

/** @returns undefined: it stands in no room */
function roomOf(file: string): string | undefined {
  const folders = file.split('/').slice(0, -1);
  const least = folders[0] === 'lbd' ? Math.min(2, folders.length) : 1;
  // A room within a room counts for itself.
  for (let depth = folders.length; depth >= least; depth--) {
    const room = folders.slice(0, depth).join('/');
    if (room in ROOMS) return room;
  }
  return undefined;
}

/**
 * What is wrong with the imports of sources, a line each.
 *
 * @param sources text by path in the tree
 */
export function faultsOf(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].flatMap(([file, text]) => {
    const room = roomOf(file);
    if (room === undefined)
      return [`${file}: its folder is no room (scripts/rooms.ts says what a room may import)`];
    const may = ROOMS[room]!;
    return importsOf(file, text)
      .filter((imported) => {
        const other = roomOf(imported);
        return other !== room && (other === undefined || !may.includes(other));
      })
      .map((imported) => `${file} imports ${imported}: ${room}/ may import ${may.join(', ') || 'nothing'}`);
  });
}

/** All sources of the tree. */
export function readSources(): Map<string, string> {
  return new Map(
    globSync(SOURCES, { cwd: ROOT })
      .toSorted()
      .map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]),
  );
}

if (import.meta.main) {
  const faults = faultsOf(readSources());
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) {
    console.error(`${faults.length} imports in the wrong direction: see docs/architecture.md#rooms`);
    process.exitCode = 1;
  }
}

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { processTree, residentBytes } from '../process.ts';
import { median } from '../statistics.ts';
import { LOADS } from './loads.ts';
import { complaints, outcomeOf } from './outcome.ts';
import { idleConnection, ready } from './probe.ts';
import type { Setup } from './setup.ts';
import type { Running, Stage } from './stage.ts';

/** Resident memory of a proxy; medians of the runs, each with a fresh process. */
export interface MemoryRow {
  readonly proxy: string;
  /** After some load, without a connection. */
  readonly restBytes: number;
  /** What 1,000 connections add, each idle after one request and answer. */
  readonly addedBytes: number;
}

const CONNECTIONS = 1000;
/** Opened at the same time: more would measure handshakes in flight. */
const AT_ONCE = 20;
const WARM_UP_SECONDS = 1;

/** @param skipped is told of each proxy that cannot take part, and why */
export async function idle(
  stage: Stage,
  listener: 'http' | 'https',
  runs: number,
  skipped: (name: string, why: string) => void,
): Promise<MemoryRow[]> {
  const load = listener === 'https' ? LOADS.tls : LOADS.http;
  const setup: Setup = { listeners: [listener], features: load.features, workers: 1 };
  const able = load.contenders.filter((contender) => {
    const why = contender.lacks(setup);
    if (why !== undefined) skipped(contender.name, why);
    return why === undefined;
  });
  const rests = new Map<string, number[]>(able.map(({ name }) => [name, []]));
  const added = new Map<string, number[]>(able.map(({ name }) => [name, []]));
  for (let i = 0; i < runs; i++)
    for (const contender of able) {
      stage.origin(load.origin);
      const running = stage.proxy(contender, setup, 0);
      await ready(running, listener, load.path);
      const order = { port: running.place.ports[listener], connections: load.connections, ca: stage.ca };
      const warmed = await stage.load(load.argv({ ...order, seconds: WARM_UP_SECONDS }), WARM_UP_SECONDS);
      const wrong = complaints(outcomeOf(warmed), load.bytesOfUnit);
      if (wrong.length > 0) throw new Error(`${contender.name}: ${wrong.join(', ')}`);
      const [rest, more] = await measure(running, listener);
      rests.get(contender.name)!.push(rest);
      added.get(contender.name)!.push(more);
      await stage.clear();
    }
  return able.map(({ name }) => ({
    proxy: name,
    restBytes: median(rests.get(name)!),
    addedBytes: median(added.get(name)!),
  }));
}

/** @returns bytes without the connections, and what they add */
async function measure(running: Running, listener: 'http' | 'https'): Promise<[rest: number, added: number]> {
  const pids = processTree(running.pid);
  const rest = residentBytes(pids);
  const sockets: Socket[] = [];
  const broken = new Set<Socket>();
  try {
    while (sockets.length < CONNECTIONS) {
      const some = Array.from({ length: AT_ONCE }, () => idleConnection(running, listener));
      for (const socket of await Promise.all(some)) {
        socket.on('error', () => broken.add(socket));
        socket.on('end', () => broken.add(socket));
        sockets.push(socket);
      }
    }
    const added = residentBytes(pids) - rest;
    if (broken.size > 0)
      throw new Error(
        `${running.contender.name} closed ${broken.size} of ${sockets.length} idle connections`,
      );
    return [rest, added];
  } finally {
    await Promise.all(sockets.map((socket) => once(socket.destroy(), 'close')));
  }
}

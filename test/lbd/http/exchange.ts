import type net from 'node:net';
import type { Test } from 'tap';
import { Plane, RawClient, RawOrigin } from '../harness.ts';

export type Reply = (socket: net.Socket, data: string, connection: number) => void;

/** One origin whose answer the test may change at any time, a plane before it, and clients. */
export class Exchange {
  reply: Reply = () => {};
  readonly t: Test;
  readonly origin: RawOrigin;
  readonly plane: Plane;

  private constructor(t: Test, origin: RawOrigin, plane: Plane) {
    this.t = t;
    this.origin = origin;
    this.plane = plane;
  }

  static async start(t: Test, settings: Settings = {}): Promise<Exchange> {
    let exchange: Exchange | undefined;
    const origin = await RawOrigin.start(t, (socket, data, connection) =>
      exchange!.reply(socket, data, connection),
    );
    exchange = new Exchange(t, origin, await Plane.start(t, yaml([origin.port], settings)));
    return exchange;
  }

  client(): Promise<RawClient> {
    return RawClient.open(this.t, this.plane.port);
  }

  /** Sends `request` on a connection of its own and returns all that came until the end. */
  async once(request: string): Promise<string> {
    const client = await this.client();
    client.write(request);
    const text = await client.end();
    client.socket.destroy();
    return text;
  }
}

export interface Settings {
  /** YAML in flow style: of the frontend's `timeouts`, of its `limits`, of the pool's `timeouts`, `stick`. */
  readonly timeouts?: string;
  readonly limits?: string;
  readonly poolTimeouts?: string;
  readonly stick?: string;
  /** Further keys of the pool, in flow style. */
  readonly pool?: string;
  /** Further lines at the top. */
  readonly more?: string;
}

/** One HTTP frontend, one round-robin pool. */
export function yaml(ports: readonly number[], settings: Settings = {}): string {
  const { timeouts = '', limits = '', poolTimeouts = '', stick, pool = '', more = '' } = settings;
  return `
${more}
frontends:
  web: { bind: ["127.0.0.1:PORT"], mode: http, pool: web, timeouts: {${timeouts}}, limits: {${limits}} }
pools:
  web:
    algorithm: round-robin
    timeouts: {${poolTimeouts}}
    ${stick === undefined ? '' : `stick: {${stick}}`}
    ${pool}
    backends:
${ports.map((port, i) => `      s${i + 1}: { address: "127.0.0.1:${port}" }`).join('\n')}
`;
}

/** Answers once for each head that arrives whole. */
export function always(text: string, thenEnd = false): Reply {
  return (socket, data) => {
    for (const _ of data.matchAll(/\r\n\r\n/g)) socket.write(text, 'latin1');
    if (thenEnd) socket.end();
  };
}

/** A small generator of numbers in [0, 1), so that a failure can be repeated (Mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Cuts a text into pieces of random size. */
export function pieces(text: string, next: () => number, longest = 20): string[] {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    const size = 1 + Math.floor(next() * longest);
    parts.push(text.slice(at, at + size));
    at += size;
  }
  return parts;
}

export const WAYS = ['whole', 'byte by byte', 'in random pieces'] as const;

/** Sends a text in one of the `WAYS`. */
export async function send(client: RawClient, text: string, way: (typeof WAYS)[number]): Promise<void> {
  if (way === 'whole') client.write(text);
  else if (way === 'byte by byte') await client.trickle(text);
  else
    for (const piece of pieces(text, random(text.length))) {
      if (client.socket.destroyed) return;
      await new Promise((resolve) => client.socket.write(piece, 'latin1', resolve));
    }
}

/** The RawOrigin's record without what differs from run to run. */
export function withoutIds(text: string): string {
  return text.replaceAll(/X-Request-Id: test-\w+\r\n/g, '');
}

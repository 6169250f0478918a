import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { type LbdStatus, SOCKETS } from '../../common/control.ts';
import { nodeCommand } from '../common/node.ts';

const MAIN = fileURLToPath(new URL('../../lbd/main.ts', import.meta.url));
/** Its workers hang in a request for `/hang`, where the frontend has routes. */
export const HANGING = fileURLToPath(new URL('hanging-lbd.ts', import.meta.url));

/** A running `lbd` as a process of its own. */
export class LbdProcess {
  readonly child: ChildProcess;
  /** What it wrote to stderr, complete at its end. */
  readonly stderr: Promise<string>;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  readonly runDir: string;
  readonly #lines: AsyncIterator<string>;

  constructor(t: Test, dir: string, args: readonly string[], runDir = join(dir, 'run'), program = MAIN) {
    this.runDir = runDir;
    // As all that starts it in life does.
    this.child = spawn(...nodeCommand('--disable-sigusr1', program, ...args, '--run-dir', runDir), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TANDEM_LOG: 'info' },
    });
    this.stderr = text(this.child.stderr!);
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal }));
    this.#lines = createInterface(this.child.stdout!)[Symbol.asyncIterator]();
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  /** Reads the log until a line's message fits. @throws Error when it ends before that */
  async logged(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`lbd ended without logging ${pattern}: ${await this.stderr}`);
      const { msg } = JSON.parse(value);
      if (pattern.test(msg)) return msg;
    }
  }

  status(): Promise<LbdStatus> {
    return this.call('GET', '/v1/status') as Promise<LbdStatus>;
  }

  /** Calls the control API. @returns its JSON */
  call(method: string, path: string, body?: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const req = request(
        { socketPath: join(this.runDir, SOCKETS.lbd), method, path, agent: false },
        async (res) => resolve(JSON.parse(await text(res))),
      );
      req.on('error', reject);
      req.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** An HTTP server on loopback, closed after the test. @returns its port */
export async function origin(t: Test, listener: RequestListener): Promise<number> {
  const server = createHttpServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** What the config of each node of a pair on loopback addresses says; frontends and pools come below. */
export function pairLines(syncPort: number): string[] {
  return [
    'cluster: { name: shop, nodes: { lb1: { address: 127.0.0.1 }, lb2: { address: 127.0.0.2 } } }',
    'ha: { vips: [{ address: 192.0.2.9/32, interface: lo }] }',
    `sync: { port: ${syncPort} }`,
    'workers: 1',
    'sessions: { capacity: 1024 }',
    'admin: { metrics: false }',
  ];
}

/** Writes a config file. @returns its path */
export function writeConfig(dir: string, lines: readonly string[]): string {
  const file = join(dir, 'tandem.yaml');
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

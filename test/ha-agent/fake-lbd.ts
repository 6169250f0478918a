import { mkdirSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { AgentLiveMessage, LbdLiveMessage } from '../../common/control.ts';

/** `lbd`, as the agent sees it on `lbd-live.sock`. */
export class FakeLbd {
  readonly heard: AgentLiveMessage[] = [];
  /** Whether it answers pings; an lbd that hangs does not. */
  answers = true;
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #clients = new Set<Socket>();
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** What it was told of roles, without the pings in between. */
  get roles(): Extract<AgentLiveMessage, { type: 'role' }>[] {
    return this.heard.filter((message) => message.type === 'role');
  }

  start(): Promise<void> {
    mkdirSync(dirname(this.#path), { recursive: true });
    return new Promise((resolve) => this.#server.listen(this.#path, resolve));
  }

  /** Ends all connections, as the kernel does for a process that was killed. */
  kill(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const client of this.#clients) client.destroy();
    });
  }

  say(message: LbdLiveMessage): void {
    this.sayRaw(`${JSON.stringify(message)}\n`);
  }

  sayRaw(text: string): void {
    for (const client of this.#clients) client.write(text);
  }

  #accept(socket: Socket): void {
    this.#clients.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#clients.delete(socket));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      for (const line of chunk.trim().split('\n')) this.#receive(JSON.parse(line));
    });
    if (this.answers) this.say({ type: 'state', ready: true, healthy: true, sync: 'synced', why: '' });
  }

  #receive(message: AgentLiveMessage): void {
    this.heard.push(message);
    if (!this.answers) return;
    if (message.type === 'ping') this.say({ type: 'pong', id: message.id });
    else if (message.type === 'heartbeat') return;
    else if (message.finishing === 'retiring') this.say({ ...message, type: 'retired' });
    else if (message.role === 'active') this.say({ ...message, type: 'promoted' });
  }
}

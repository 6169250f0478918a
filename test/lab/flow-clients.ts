import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { VIP } from '../../scripts/lab/hosts.ts';

/**
 * Clients whose connections stay open: some echo, to some the backend only sends, some are flows of datagrams. Each
 * remembers who answered first. `more` on standard input asks for five more answers of each; then a line of JSON says
 * what went wrong with whom.
 */
const ECHOES = 20;
const DOWNLOADS = 5;
const DATAGRAMS = 10;
const PERIOD_MS = 50;

class Client {
  readonly name: string;
  /** Whoever answers now, and since `ask` how often. */
  backend = '';
  answers = 0;
  trouble = '';
  #done: (() => void) | undefined;
  #wanted = Number.POSITIVE_INFINITY;

  constructor(name: string) {
    this.name = name;
  }

  answered(backend: string): void {
    if (this.backend === '') this.backend = backend;
    if (this.backend !== backend) this.fail(`${backend} answers instead of ${this.backend}`);
    this.answers++;
    if (this.answers >= this.#wanted) this.#done?.();
  }

  fail(cause: string): void {
    this.trouble ||= cause;
    this.#done?.();
  }

  more(count: number): Promise<void> {
    this.#wanted = this.answers + count;
    return new Promise((resolve) => {
      this.#done = resolve;
      if (this.trouble !== '') resolve();
    });
  }
}

function tcp(kind: 'echo' | 'download', number: number): Client {
  const client = new Client(`${kind} ${number}`);
  const socket = connect({ host: VIP, port: kind === 'echo' ? 5000 : 5001, noDelay: true });
  socket.on('error', (error) => client.fail(error.message));
  socket.on('close', () => client.fail('closed'));
  socket.on('data', (data) =>
    client.answered(kind === 'echo' ? data.toString('latin1', 0, 2) : `s${data.toString('latin1', 0, 1)}`),
  );
  if (kind === 'echo') {
    const timer = setInterval(() => socket.write('ping'), PERIOD_MS);
    socket.on('close', () => clearInterval(timer));
  }
  return client;
}

function udp(number: number): Client {
  const client = new Client(`udp ${number}`);
  const socket = createSocket('udp4');
  socket.on('error', (error) => client.fail(error.message));
  socket.on('message', (data) => client.answered(data.toString('latin1')));
  socket.connect(5002, VIP, () => setInterval(() => socket.send('ping'), PERIOD_MS));
  return client;
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const clients = [
  ...numbers(ECHOES).map((i) => tcp('echo', i)),
  ...numbers(DOWNLOADS).map((i) => tcp('download', i)),
  ...numbers(DATAGRAMS).map(udp),
];

for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'more') continue;
  await Promise.all(clients.map((client) => client.more(5)));
  const troubles = clients.filter(({ trouble }) => trouble !== '').map((it) => `${it.name}: ${it.trouble}`);
  const backends = [...new Set(clients.map(({ backend }) => backend))].sort();
  process.stdout.write(`${JSON.stringify({ clients: clients.length, troubles, backends })}\n`);
}
process.exit(0);

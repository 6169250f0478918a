import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { VIP } from '../../lab/hosts.ts';
import type { ClientsReport, KindReport } from './report.ts';
import { PORTS } from './services.ts';

/**
 * Clients whose flows stay open: some send a byte now and then and get one back, to some the backend only sends, some are
 * flows of datagrams. Lines on standard input: `mark` begins to watch; `report` waits until all that live have been
 * answered again, and says in a line of JSON what was seen since; what was lost is opened anew.
 *
 *     clients.ts ECHOES DOWNLOADS DATAGRAMS PERIOD_MS
 */
const [echoes, downloads, datagrams, periodMs] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
];
/** Flows that have not been answered again by then are lost. */
const GIVE_UP_MS = 15_000;
/** Answers after which a flow counts as well again. */
const WELL = 3;
const CONNECTS_AT_A_TIME = 100;

type Kind = keyof ClientsReport['kinds'];

/** One flow, as its client sees it. */
class Client {
  readonly kind: Kind;
  backend = '';
  wrong = false;
  reset = '';
  answers = 0;
  lastMs = 0;
  pauseMs = 0;
  send: () => void = () => {};
  close: () => void = () => {};

  constructor(kind: Kind) {
    this.kind = kind;
  }

  mark(nowMs: number): void {
    this.answers = 0;
    this.pauseMs = 0;
    this.lastMs = nowMs;
  }

  answered(digit: string): void {
    const nowMs = performance.now();
    if (this.backend === '') this.backend = digit;
    if (this.backend !== digit) this.wrong = true;
    if (this.lastMs !== 0) this.pauseMs = Math.max(this.pauseMs, nowMs - this.lastMs);
    this.lastMs = nowMs;
    this.answers++;
  }

  broke(cause: string): void {
    this.reset ||= cause;
  }
}

function tcp(kind: 'echo' | 'download'): Client {
  const client = new Client(kind);
  const socket = connect({ host: VIP, port: PORTS[kind], noDelay: true });
  socket.on('data', (data: Buffer) => client.answered(String.fromCharCode(data[0]!)));
  socket.on('error', (error: NodeJS.ErrnoException) => client.broke(error.code ?? error.message));
  socket.on('close', () => client.broke('closed'));
  if (kind === 'echo')
    client.send = () => {
      // What waits for an answer for long is not added to.
      if (!socket.connecting && socket.writableLength < 64) socket.write('?');
    };
  client.close = () => socket.destroy();
  return client;
}

function udp(): Client {
  const client = new Client('datagrams');
  const socket = createSocket('udp4');
  let connected = false;
  // The host that is on its way may be told to be unreachable; the next datagram tries again.
  socket.on('error', () => {});
  socket.on('message', (data) => client.answered(data.toString('latin1')));
  socket.connect(PORTS.datagrams, VIP, () => {
    connected = true;
  });
  client.send = () => {
    if (connected) socket.send('?', () => {});
  };
  client.close = () => socket.close();
  return client;
}

const make: Record<Kind, () => Client> = {
  echo: () => tcp('echo'),
  download: () => tcp('download'),
  datagrams: udp,
};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const clients: Client[] = [];

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + GIVE_UP_MS;
  while (!condition() && performance.now() < endMs) await sleep(10);
}

async function open(kinds: readonly Kind[]): Promise<void> {
  for (let i = 0; i < kinds.length; i += CONNECTS_AT_A_TIME) {
    const fresh = kinds.slice(i, i + CONNECTS_AT_A_TIME).map((kind) => make[kind]());
    clients.push(...fresh);
    await until(() => fresh.every((it) => it.answers > 0 || it.reset !== ''));
  }
}

const isWell = (client: Client) => client.answers >= WELL;

async function report(): Promise<ClientsReport> {
  const nowMs = performance.now();
  const before = new Map(clients.map((client) => [client, client.answers]));
  await until(() => clients.every((it) => it.reset !== '' || it.answers >= before.get(it)! + WELL));
  const kinds = {} as Record<Kind, KindReport>;
  for (const kind of Object.keys(make) as Kind[]) {
    const all = clients.filter((client) => client.kind === kind);
    const causes = [...new Set(all.flatMap(({ reset }) => (reset === '' ? [] : [reset])))];
    kinds[kind] = {
      flows: all.length,
      resets: all.filter(({ reset }) => reset !== '').length,
      causes,
      lost: all.filter((it) => it.reset === '' && it.answers < before.get(it)! + WELL).length,
      wrong: all.filter(({ wrong }) => wrong).length,
      pauseMs: Math.max(0, ...all.map(({ pauseMs }) => pauseMs)),
    };
  }
  const dead = clients.filter((it) => it.reset !== '' || it.wrong || !isWell(it));
  for (const client of dead) {
    clients.splice(clients.indexOf(client), 1);
    client.close();
  }
  await open(dead.map(({ kind }) => kind));
  return {
    kinds,
    backends: new Set(clients.map(({ backend }) => backend)).size,
    tookMs: performance.now() - nowMs,
  };
}

/** Parts of the period, so that not all send in the same moment. */
const TURNS = 10;
let turn = 0;
setInterval(() => {
  for (let i = turn; i < clients.length; i += TURNS) clients[i]!.send();
  turn = (turn + 1) % TURNS;
}, periodMs / TURNS);

const repeat = (kind: Kind, count: number) => Array.from({ length: count }, () => kind);
await open([...repeat('echo', echoes), ...repeat('download', downloads), ...repeat('datagrams', datagrams)]);
process.stdout.write(`${JSON.stringify({ open: clients.length })}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'mark') {
    const nowMs = performance.now();
    for (const client of clients) client.mark(nowMs);
    process.stdout.write('{}\n');
  } else if (line === 'report') process.stdout.write(`${JSON.stringify(await report())}\n`);
}
process.exit(0);

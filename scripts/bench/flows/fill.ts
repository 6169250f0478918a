import { once } from 'node:events';
import { Conntrack } from '../../../lbd/flow/conntrack.ts';
import { RequestBatch } from '../../../lbd/flow/conntrack-request.ts';
import { TCP } from '../../../lbd/flow/flow.ts';
import { addressBytes } from '../../../lbd/flow/flow-scope.ts';
import { BATCH_REQUESTS } from '../../../lbd/flow/flow-writer.ts';
import { ADDRESS, BACKENDS, VIP } from '../../lab/hosts.ts';
import { PORTS } from './services.ts';

/**
 * Puts flows of clients that nobody has into the kernel of the host, as open connections to the VIP. Says in a line of
 * JSON how many there are, and the last error number of those that the kernel did not take.
 *
 *     fill.ts COUNT
 */
const count = Number(process.argv[2]);
const LIFE_S = 86_400;
const PORTS_OF_CLIENT = 50_000;
const FIRST_PORT = 10_000;

const port = (value: number) => String.fromCharCode(value >> 8, value & 255);
const backends = BACKENDS.map((host) => addressBytes(ADDRESS[host])!);
const [vip, asked] = [addressBytes(VIP)!, port(PORTS.echo)];

function tuplesOf(i: number): string {
  const client = addressBytes(`10.200.0.${1 + Math.floor(i / PORTS_OF_CLIENT)}`)!;
  const from = port(FIRST_PORT + (i % PORTS_OF_CLIENT));
  const backend = backends[i % backends.length]!;
  return String.fromCharCode(TCP) + client + vip + from + asked + backend + client + asked + from;
}

const batch = new RequestBatch(BATCH_REQUESTS);
let made = 0;
let refused = 0;
let error = 0;

function next(): void {
  const first = made;
  while (batch.room > 0 && made < count) {
    made++;
    batch.insert(made, { tuples: tuplesOf(made), mark: 0, status: 0, timeoutS: LIFE_S });
  }
  if (made > first) conntrack.write(batch.take());
  else finish();
}

function finish(): void {
  conntrack.close();
  process.stdout.write(`${JSON.stringify({ made: made - refused, refused, error })}\n`);
}

const conntrack = new Conntrack({
  onFlow: () => {},
  onGone: () => {},
  onAnswer: (sequence, code) => {
    if (code !== 0) refused++;
    if (code !== 0) error = code;
    if (sequence === made) next();
  },
  onDumpBegin: () => {},
  onDumpEnd: next,
  onDown: (why) => {
    process.stderr.write(`${why}\n`);
    process.exit(1);
  },
});
conntrack.open();
await once(process.stdin.resume(), 'end');

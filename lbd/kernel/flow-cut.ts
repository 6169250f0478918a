import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { KernelService } from './kernel-service.ts';
import type { Nft } from './nft.ts';

/** A TCP flow that the kernel forgot, as the client sees it. */
export interface CutFlow {
  readonly client: string;
  readonly clientPort: number;
  readonly address: string;
  readonly port: number;
}

/** Sockets at the same time. */
const BATCH = 500;
/** The segment that asks leaves at once; the client answers within a round trip, and nobody waits for that. */
const ASK_MS = 50;
/** Clients beyond are reset when they send something. */
const MAX_ASKED = 20_000;

const TABLE = 'tandem_lb_cut';

/** Arguments of `conntrack` that forget the flows of one backend, one list for each address of the frontend. */
export function deletions(service: KernelService, backend: KernelService['backends'][number]): string[][] {
  const { protocol, family, addresses, ports } = service;
  const [range] = ports;
  const onePort = ports.length === 1 && range![0] === range![1];
  const common = [
    ...['-D', '-f', `ipv${family}`, '-p', protocol],
    ...['--dst-nat', backend.address, '--reply-port-src', String(backend.port)],
    ...(onePort ? ['--orig-port-dst', String(range![0])] : []),
  ];
  if (addresses.length === 0) return [common];
  return addresses.map((address) => [...common, '--orig-dst', address]);
}

/** Reads what `conntrack -D` says of the flows that it deleted: the TCP ones whose client may still wait. */
export function cutFlows(output: string): CutFlow[] {
  return output.split('\n').flatMap((line) => {
    const [, state, client, address, clientPort, port] =
      /^tcp\s+6\s(?:\d+\s)?(\S+)\ssrc=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)/.exec(line) ?? [];
    if (state === undefined || state === 'TIME_WAIT' || state === 'CLOSE') return [];
    return [{ client: client!, clientPort: Number(clientPort), address: address!, port: Number(port) }];
  });
}

/**
 * Forgets the flows of a backend and resets their clients, also those that only wait for an answer.
 *
 * A reset counts only with the sequence number that the client expects, and the kernel does not tell it. So the client is
 * asked: a SYN in the middle of a connection is answered with the numbers of that connection (the challenge ACK of RFC 5961
 * section 4.2), and this host, which knows no such connection any more, answers that with a reset that fits. The SYN comes
 * from an ordinary socket; a rule gives it the frontend's port.
 *
 * @returns how many flows there were
 * @throws OperatorError
 */
export async function cutBackend(
  nft: Pick<Nft, 'apply' | 'deleteFlows'>,
  service: KernelService,
  backend: KernelService['backends'][number],
): Promise<number> {
  const flows: CutFlow[] = [];
  let count = 0;
  for (const args of deletions(service, backend)) {
    const { deleted, output } = await nft.deleteFlows(args);
    count += deleted;
    flows.push(...cutFlows(output));
  }
  const asked = flows.slice(0, MAX_ASKED);
  try {
    for (let i = 0; i < asked.length; i += BATCH) await ask(nft, asked.slice(i, i + BATCH), service.family);
  } finally {
    if (asked.length > 0) await nft.apply(`add table inet ${TABLE}\ndelete table inet ${TABLE}\n`);
  }
  return count;
}

async function ask(nft: Pick<Nft, 'apply'>, flows: readonly CutFlow[], family: 4 | 6): Promise<void> {
  await nft.apply(askRules(flows, family));
  const sockets = flows.map(askOne);
  await delay(ASK_MS);
  for (const socket of sockets) socket.destroy();
}

function askOne({ client, clientPort, address }: CutFlow): Socket {
  const socket = createConnection({ host: client, port: clientPort, localAddress: address });
  // A refusal is what is hoped for.
  socket.on('error', () => {});
  return socket;
}

/** Two flows of one client port to two ports of one address: the second one is reset when it sends something. */
export function askRules(flows: readonly CutFlow[], family: 4 | 6): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const type = family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const ports = new Map(
    flows.map(({ client, clientPort, address, port }) => [`${address} . ${client} . ${clientPort}`, port]),
  );
  const elements = [...ports].map(([key, port]) => `${key} : ${port}`).join(', ');
  return `add table inet ${TABLE}
delete table inet ${TABLE}
table inet ${TABLE} {
  map ports {
    type ${type} . ${type} . inet_service : inet_service
    elements = { ${elements} }
  }
  chain output {
    type filter hook output priority raw - 10; policy accept;
    tcp flags & (fin | syn | rst | ack) == syn tcp sport set ${ip} saddr . ${ip} daddr . tcp dport map @ports notrack
  }
}
`;
}
